/*!
What Kafka's and Pulsar's topics share: the topics of a task and those that are missing, searches for a place in a
topic, and the connections that a search needs for a while.
*/

mod missing_topic;
pub(super) mod search;
pub(super) mod searcher;
pub(super) mod topic_table;
