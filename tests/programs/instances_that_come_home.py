"""An instance that comes home leaves the script's class, its methods and its globals as they are."""

import dataclasses

import octapi

paid = 0


class Bill:
    printed = 0
    known = {}

    def __init__(self, amount):
        self.amount = amount

    def pay(self):
        global paid
        paid += self.amount

    @staticmethod
    def rule():
        return "old"


@dataclasses.dataclass
class Line:
    text: str
    bill: Bill


def make(n):
    return Bill(n), Line(f"number {n}", Bill(n))


def make_class():
    return Bill, Line


def fail(n):
    error = ValueError("with a bill")
    error.bill = Bill(n)
    raise error


pay, known = Bill.pay, Bill.known
with octapi.Cluster() as cluster:
    jobs = [cluster.submit(make, n) for n in range(4)]
    failed = cluster.submit(fail, 3)
    Bill.printed = 7
    Bill.known["x"] = 1
    Bill.rule = staticmethod(lambda: "new")
    pairs = [job.result(60) for job in jobs] + list(cluster.map(make, range(4, 6)))
    for bill, line in pairs:
        bill.pay()
        line.bill.pay()
    classes = cluster.submit(make_class).result(60)
    assert type(failed.exception(60).bill) is Bill, failed.exception().bill

assert pairs, "nothing came home"
assert all(type(bill) is Bill and type(line) is Line for bill, line in pairs), pairs
assert classes == (Bill, Line), classes
assert paid == 2 * sum(range(6)), paid
assert Bill.printed == 7, Bill.printed
assert Bill.pay is pay, Bill.pay
assert Bill.known is known, Bill.known
assert known == {"x": 1}, known
assert Bill.rule() == "new", Bill.rule()
print("holds")
