//! The producer: one librdkafka client, and the receipt that tells a request when all of its records are acknowledged.
//!
//! Records are queued with `rd_kafka_produce_batch`, which the safe wrapper does not offer: its `send` looks the topic
//! up by name, under a lock, and reads the clock for each record.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, IntoOpaque};
use tokio::sync::oneshot;

use crate::batch::Batch;

/// RD_KAFKA_PARTITION_UA, a macro that the bindings lack: the partitioner decides.
const PARTITION_UNASSIGNED: i32 = -1;

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

/// A handle that is valid as long as the producer it was made from.
struct Topic(*mut rd_kafka_topic_t);

// SAFETY: librdkafka's handles may be used by any thread.
unsafe impl Send for Topic {}
unsafe impl Sync for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_topic_new, and released only here.
        unsafe { rd_kafka_topic_destroy(self.0) }
    }
}

pub struct Kafka {
    topic: Topic, // before the producer: fields are dropped in this order
    producer: ThreadedProducer<Deliveries>,
}

impl Kafka {
    /// Returns when the topic is known; fails when it is not there.
    pub fn connect(brokers: &str, topic: &str) -> KafkaResult<Self> {
        let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "none")
            // While five batches of a partition are in flight the next one fills, so that under load batches are large
            // without waiting. Lingering 1 to 10 ms cost 6 to 18 % more CPU an event at 100 events a request, and more
            // below that.
            .set("linger.ms", "0")
            .set("batch.size", "1000000")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "262144")
            .set("delivery.timeout.ms", "10000")
            .set("request.timeout.ms", "5000")
            .set("socket.nagle.disable", "true")
            .create_with_context(Deliveries)?;
        let metadata = producer.client().fetch_metadata(Some(topic), METADATA_MAX)?;
        if let Some(error) = metadata.topics().first().and_then(|topic| topic.error()) {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let name = CString::new(topic)?;
        // SAFETY: the client and the name are alive; without a configuration of its own the topic has the client's.
        let topic = unsafe { rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            return Err(KafkaError::Canceled);
        }
        Ok(Self { topic: Topic(topic), producer })
    }

    /// Queues a batch. What a full queue does not take fails the receipt at once: waiting is the sender's to do.
    pub fn send(&self, batch: &Batch, receipt: &Arc<Receipt>) {
        let mut messages: Vec<rd_kafka_message_t> =
            batch.records().map(|(key, value)| message(key, value, Arc::clone(receipt))).collect();
        // SAFETY: the topic lives as long as self; librdkafka copies keys and values before it returns, and takes over
        // the opaque pointer of each message without an error.
        unsafe {
            rd_kafka_produce_batch(
                self.topic.0,
                PARTITION_UNASSIGNED,
                RD_KAFKA_MSG_F_COPY,
                messages.as_mut_ptr(),
                messages.len() as i32,
            );
        }
        for refused in messages.iter().filter(|m| m.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR) {
            // SAFETY: no delivery follows for this message, so its share of the receipt is still ours.
            unsafe { Arc::<Receipt>::from_ptr(refused._private) }.fail();
        }
    }

    pub fn flush(&self, max: Duration) -> KafkaResult<()> {
        self.producer.flush(max)
    }
}

fn message(key: &[u8], value: &[u8], receipt: Arc<Receipt>) -> rd_kafka_message_t {
    rd_kafka_message_t {
        err: rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: 0,
        payload: value.as_ptr() as *mut c_void,
        len: value.len(),
        key: key.as_ptr() as *mut c_void,
        key_len: key.len(),
        offset: 0,
        _private: receipt.into_ptr(),
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
