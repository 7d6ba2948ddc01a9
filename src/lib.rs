//! Gatehouse: one door in front of a Kafka cluster.
