"""dispy's settings, which scripts read and assign; only transport ones, so none changes what OctaPi does."""

DispyPort = 9700
HTTPServerPort = 8181
MsgTimeout = 10
MaxFileSize = 0
IPv4MulticastGroup = "239.255.97.0"
IPv6MulticastGroup = "ff05::4145:9700"
ClientPort = "DispyPort"
NodePort = "DispyPort + 1"
SharedSchedulerPort = "DispyPort + 2"
Java = "/usr/bin/java"
