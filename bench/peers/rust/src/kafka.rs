//! The producer: one librdkafka client, and the receipt that tells a request when all of its records are acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::oneshot;

const METADATA_MAX: Duration = Duration::from_secs(10);

/// The records of a request share one receipt, and the last of them to let go of it answers: the count of the `Arc` is
/// the latch that is counted down, by deliveries and by records that could not even be queued alike.
pub struct Receipt {
    failed: AtomicBool,
    answer: Option<oneshot::Sender<bool>>,
}

impl Receipt {
    /// The receiver gets whether every record was acknowledged.
    pub fn new() -> (Arc<Self>, oneshot::Receiver<bool>) {
        let (answer, outcome) = oneshot::channel();
        (Arc::new(Self { failed: AtomicBool::new(false), answer: Some(answer) }), outcome)
    }

    // Relaxed is enough: letting go of an Arc publishes what was written before it to whoever drops the last one.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            // An error says that the client has gone and nobody waits.
            let _ = answer.send(!*self.failed.get_mut());
        }
    }
}

struct Deliveries;

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("kafka: {error}: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Receipt>;

    fn delivery(&self, result: &DeliveryResult, receipt: Arc<Receipt>) {
        if result.is_err() {
            receipt.fail();
        }
    }
}

pub struct Kafka {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
}

impl Kafka {
    /// Returns when the topic is known; fails when it is not there.
    pub fn connect(brokers: &str, topic: String) -> KafkaResult<Self> {
        let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "none")
            // 5 ms collect the records of many requests in one batch for each partition, which saves more than
            // it costs here: with fewer, larger requests both librdkafka and the broker do less work an event.
            .set("linger.ms", "5")
            .set("batch.size", "1000000")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "262144")
            .set("delivery.timeout.ms", "10000")
            .set("request.timeout.ms", "5000")
            .set("socket.nagle.disable", "true")
            .create_with_context(Deliveries)?;
        let metadata = producer.client().fetch_metadata(Some(&topic), METADATA_MAX)?;
        match metadata.topics().first().and_then(|topic| topic.error()) {
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            None => Ok(Self { producer, topic }),
        }
    }

    /// Queues one record. A full queue fails the receipt at once: waiting for room is the sender's to do.
    pub fn send(&self, key: &[u8], value: &[u8], receipt: &Arc<Receipt>) {
        let record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(receipt)).key(key).payload(value);
        if self.producer.send(record).is_err() {
            receipt.fail();
        }
    }

    pub fn flush(&self, max: Duration) -> KafkaResult<()> {
        self.producer.flush(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_answers_when_its_last_record_is_done() {
        let (receipt, mut outcome) = Receipt::new();
        let records = [Arc::clone(&receipt), Arc::clone(&receipt)];
        drop(receipt);
        for record in records {
            assert!(outcome.try_recv().is_err());
            drop(record);
        }
        assert_eq!(outcome.try_recv(), Ok(true));
    }

    #[test]
    fn one_failed_record_fails_the_request() {
        let (receipt, mut outcome) = Receipt::new();
        let record = Arc::clone(&receipt);
        record.fail();
        drop(record);
        drop(receipt);
        assert_eq!(outcome.try_recv(), Ok(false));
    }
}
