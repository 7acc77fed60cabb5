"""Case 9: three brokers, replication factor 3, acks=all, case 1's load; and case 6's memory of three brokers."""

import time

import clients
import clusters
import load
from session import WARM_UP_RECORDS, attempt

PARTITIONS = 6
REST_S = 3


def steps(session):
    return session.rounds


def run(session):
    """Each round has clusters of its own, one at a time: on few cores, idle brokers would be felt."""
    for index in range(session.rounds):
        session.step(f"replication, round {index + 1} of {session.rounds}")
        kinds = clusters.compared()
        for kind in kinds if index % 2 == 0 else kinds[::-1]:
            with kind(session.folder) as cluster:
                one_cluster(session, cluster)


def one_cluster(session, cluster):
    time.sleep(REST_S)
    session.results.add("replication/memory", cluster.name, cluster.rss_bytes())
    produce(session, cluster, load.Load(WARM_UP_RECORDS, 1000, 16 << 10).scaled(session.scale), None)
    produce(session, cluster, load.CLASSIC.scaled(session.scale), "replication/classic")
    session.results.add("replication/memory-produced", cluster.name, cluster.rss_bytes())


def produce(session, cluster, work, metric):
    """Until all is acknowledged; without a metric it only warms up. Topics go with their cluster: the files of one that
    is deleted would do so in the middle of what comes next."""
    topic = session.new_topic()
    cluster.topic(topic, PARTITIONS)
    if metric:
        attempt(session, cluster, metric, lambda: clients.raw_produce(cluster, topic, work, acks="all"))
    else:
        clients.raw_produce(cluster, topic, work, acks="all")
