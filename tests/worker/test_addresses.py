"""Where a worker listens, and where others find it."""

from octapi.worker.addresses import PORT, Addresses


def test_a_port_that_others_must_know_is_fixed() -> None:
    assert Addresses().port_to_listen == 0
    assert Addresses().contact("tls") is None
    assert Addresses(advertise="pi").contact("tls") == f"tls://pi:{PORT}"
    assert Addresses(port=7, advertise="pi").contact("tls") == "tls://pi:7"
