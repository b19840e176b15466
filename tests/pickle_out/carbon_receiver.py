"""Carbon's own receiver of pickles: what it takes is written out, a point a line; what it logs goes to stderr.

The first line is the port it listens on. It ends when its standard input does.
"""

import sys
import threading

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.python import log

log.startLogging(sys.stderr, setStdout=False)

from carbon import events, protocols  # noqa: E402
from carbon.conf import settings  # noqa: E402

settings["LOG_LISTENER_CONN_SUCCESS"] = False


def received(metric, datapoint):
    timestamp, value = datapoint
    print(metric, repr(value), repr(timestamp), flush=True)


def wait_for_the_end():
    sys.stdin.read()
    reactor.callFromThread(reactor.stop)


# Only this one: carbon itself would count what it has received.
events.metricReceived.handlers = [received]
factory = Factory()
factory.protocol = protocols.MetricPickleReceiver
port = reactor.listenTCP(0, factory, interface="127.0.0.1")
threading.Thread(target=wait_for_the_end, daemon=True).start()
print(port.getHost().port, flush=True)
reactor.run()
