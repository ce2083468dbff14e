/**
 * Peer of the benchmark: the gateway's session and stream endpoints as somebody would write them in Java who wants them
 * fast, on Vert.x event loops, Jackson's streaming API and Kafka's own client as an idempotent producer.
 *
 * <p>200 means that every event of the request was acknowledged by all in-sync replicas. There is no queue but the
 * client's own, which is bounded; what it does not deliver within 10 s is answered 503.
 *
 * <p>Everything of a request runs on the event loop of its connection but the {@link tollgate.peer.Acks}, which Kafka's
 * sender thread counts down.
 */
package tollgate.peer;
