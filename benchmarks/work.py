"""The functions that are measured; a module of their own, so that every contender can import them."""


def nothing(number):
    return number


def is_prime(number):
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


def length(data):
    return len(data)


def zeros(size):
    import numpy

    return numpy.zeros(size // 8)


def spin(count):
    total = 0
    for number in range(count):
        total += number
    return total
