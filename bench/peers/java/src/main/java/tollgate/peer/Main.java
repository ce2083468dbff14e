package tollgate.peer;

import io.vertx.core.DeploymentOptions;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.net.SocketAddress;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Reads the settings, connects, serves until it is told to end. */
public final class Main {
    /** How long what is queued may still be delivered after SIGTERM. */
    private static final Duration CLOSE_MAX = Duration.ofSeconds(3);

    /** How often the topic is asked for, MAX_BLOCK_MS each. */
    private static final int TRIES_MAX = 10;

    private Main() {}

    public static void main(String[] args) {
        String[] listen = setting("PEER_LISTEN").split(":", 2);
        String topic = setting("PEER_TOPIC");
        Producer<byte[], byte[]> producer = connect(setting("PEER_KAFKA"), topic);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> producer.close(CLOSE_MAX)));

        int loops = Runtime.getRuntime().availableProcessors();
        VertxOptions options = new VertxOptions().setEventLoopPoolSize(loops).setPreferNativeTransport(true);
        Records records = new Records(topic, setting("PEER_BUSINESS"));
        Sessions sessions = new Sessions();
        SocketAddress address = SocketAddress.inetSocketAddress(Integer.parseInt(listen[1]), listen[0]);
        Vertx.vertx(options)
                .deployVerticle(
                        () -> new Api(address, setting("PEER_KEY"), sessions, records, producer),
                        new DeploymentOptions().setInstances(loops))
                .onFailure(e -> {
                    System.err.println(e);
                    System.exit(1);
                });
    }

    /** Returns when the topic is known; throws when it is not there. */
    private static Producer<byte[], byte[]> connect(String brokers, String topic) {
        Properties p = new Properties();
        p.putAll(Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
                ProducerConfig.ACKS_CONFIG, "all",
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                ProducerConfig.COMPRESSION_TYPE_CONFIG, "none",
                // Without lingering a request to the broker holds what one HTTP request brought: twice the CPU an event at
                // 100 events a request. With 5 ms connections wait for it and the CPU an event grows by 15 to 40 %.
                ProducerConfig.LINGER_MS_CONFIG, 2,
                ProducerConfig.BATCH_SIZE_CONFIG, 256 << 10,
                ProducerConfig.BUFFER_MEMORY_CONFIG, 128L << 20));
        p.putAll(Map.of(
                ProducerConfig.MAX_REQUEST_SIZE_CONFIG, 4 << 20,
                ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 10_000,
                ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, 5_000,
                // send runs on event loops: a full buffer may hold them up for so long before it refuses.
                ProducerConfig.MAX_BLOCK_MS_CONFIG, 1_000,
                // A topic that is forgotten when it is idle would be asked for again by send, which waits for it.
                ProducerConfig.METADATA_MAX_IDLE_CONFIG, Integer.MAX_VALUE));
        ByteArraySerializer bytes = new ByteArraySerializer();
        Producer<byte[], byte[]> producer = new KafkaProducer<>(p, bytes, bytes);
        for (int tries = 1; ; tries++) {
            try {
                producer.partitionsFor(topic);
                return producer;
            } catch (TimeoutException e) {
                if (tries == TRIES_MAX) {
                    throw e;
                }
            }
        }
    }

    private static String setting(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }
}
