package tollgate.peer;

import io.vertx.core.Context;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/**
 * The latch of one request, and the callback of all of its records. Kafka's sender thread counts it down; the last one
 * goes back to the request's event loop.
 */
final class Acks implements Callback {
    private final Context context;
    private final Consumer<Boolean> done;
    private final AtomicInteger missing;
    private volatile boolean failed;

    private Acks(int records, Context context, Consumer<Boolean> done) {
        this.missing = new AtomicInteger(records);
        this.context = context;
        this.done = done;
    }

    /** Calls done on the context, once: whether every record was acknowledged. */
    static void send(
            Producer<byte[], byte[]> producer,
            List<ProducerRecord<byte[], byte[]>> records,
            Context context,
            Consumer<Boolean> done) {
        Acks acks = new Acks(records.size(), context, done);
        for (ProducerRecord<byte[], byte[]> record : records) {
            try {
                producer.send(record, acks);
            } catch (RuntimeException e) {
                acks.onCompletion(null, e); // what send throws it does not report
            }
        }
    }

    @Override
    public void onCompletion(RecordMetadata metadata, Exception exception) {
        if (exception != null) {
            failed = true;
        }
        if (missing.decrementAndGet() == 0) {
            context.runOnContext(nothing -> done.accept(!failed));
        }
    }
}
