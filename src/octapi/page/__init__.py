"""The page: what people see of a cluster.  An extra, in a process of its own; a worker never imports it.

process   the process that the master starts
feed      where state comes from: the gateway, or the script that started the page
model     the one model of state: frames in, rows for people out
explain   sentences and badges: what the numbers mean
links     the links that let people in, as the supervisor keeps them
login     who comes: links, cookies, forged requests, wrong names of hosts
events    the stream of state to browsers and programs
api       /api/v1
app       everything together
static    what browsers get
"""
