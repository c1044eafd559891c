"""A method, a callable object and a partial run with the state that they have at the call."""

import functools

import octapi


class Account:
    def __init__(self, balance):
        self.balance = balance

    def after(self, change):
        return self.balance + change

    def __call__(self, change):
        return self.balance - change

    @classmethod
    def named(cls, change):
        return cls.name, change


class Same(Account):
    """All of them are equal and have one hash."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


prices = {"tea": 2}


def cost(table, drink, number):
    return table[drink] * number


with octapi.Cluster() as cluster:
    for kind in (Account, Same):
        account = kind(100)
        seen = []
        for balance in (100, 200, 300):
            account.balance = balance
            seen += [cluster.submit(account.after, 1).result(60), *cluster.map(account.after, [2, 3])]
            seen += [cluster.submit(account, 1).result(60), *cluster.map(account, [2, 3])]
        wanted = [b + n for b in (100, 200, 300) for n in (1, 2, 3, -1, -2, -3)]
        assert seen == wanted, (kind, seen)

    both = [cluster.submit(Same(n).after, 0).result(60) for n in (5, 6, 7)]
    assert both == [5, 6, 7], both

    names = []
    for name in ("first", "second"):
        Account.name = name
        names.append(cluster.submit(Account.named, 1).result(60))
    assert names == [("first", 1), ("second", 1)], names

    buy = functools.partial(cost, prices, "tea")
    sums = []
    for price in (2, 3, 4):
        prices["tea"] = price
        sums.append((cluster.submit(buy, 10).result(60), list(cluster.map(buy, [1, 2]))))
    assert sums == [(20, [2, 4]), (30, [3, 6]), (40, [4, 8])], sums
    appended = []
    jobs = []
    for n in range(5):
        appended.append(n)
        jobs.append(cluster.submit(functools.partial(sum, appended)))
    assert [job.result(60) for job in jobs] == [0, 1, 3, 6, 10], jobs
print("holds")
