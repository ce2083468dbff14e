package tollgate.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.vertx.core.json.JsonObject;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.junit.jupiter.api.Test;

class RecordsTest {
    private static final OffsetDateTime RECEIVED = OffsetDateTime.parse("2026-11-21T12:00:00.123Z");

    private static List<ProducerRecord<byte[], byte[]>> records(String body) throws InvalidRequest {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        return new Records("usage", "acct_bench").of(Events.parse(bytes, bytes.length), RECEIVED);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    @Test
    void anEventBecomesOneCompactObjectInAFixedOrder() throws InvalidRequest {
        List<ProducerRecord<byte[], byte[]>> made = records("""
                {"events":[{"event_name":"meter_0001","identifier":"tgb-5f3a01c9-002a-00000004d2",
                "timestamp":"2026-11-21T13:00:00+01:00","payload":{"stripe_customer_id":"cus_00000001","value":"25"}},
                {"event_name":"meter_0002","identifier":"i","payload":{}}]}""");
        assertEquals(2, made.size());
        assertEquals("usage", made.get(0).topic());
        assertEquals("acct_bench/testmode/meter_0001", text(made.get(0).key()));
        assertEquals(
                "{\"object\":\"meter_event\",\"business\":\"acct_bench\",\"livemode\":false,\"event_name\":\"meter_0001\","
                        + "\"identifier\":\"tgb-5f3a01c9-002a-00000004d2\",\"timestamp\":\"2026-11-21T12:00:00.000Z\","
                        + "\"received\":\"2026-11-21T12:00:00.123Z\","
                        + "\"payload\":{\"stripe_customer_id\":\"cus_00000001\",\"value\":\"25\"}}",
                text(made.get(0).value()));
        assertEquals(
                "{\"object\":\"meter_event\",\"business\":\"acct_bench\",\"livemode\":false,\"event_name\":\"meter_0002\","
                        + "\"identifier\":\"i\",\"timestamp\":\"2026-11-21T12:00:00.123Z\","
                        + "\"received\":\"2026-11-21T12:00:00.123Z\",\"payload\":{}}",
                text(made.get(1).value()));
    }

    @Test
    void whatAnEventLeavesOutIsFilledIn() throws InvalidRequest {
        List<String> identifiers = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> record : records("""
                {"events":[{"event_name":"m","payload":{}},{"event_name":"m","identifier":null,"payload":{}}]}""")) {
            identifiers.add(new JsonObject(text(record.value())).getString("identifier"));
        }
        assertEquals(36, identifiers.get(0).length());
        assertNotEquals(identifiers.get(0), identifiers.get(1));
    }

    @Test
    void escapesSurviveAndDoNotBreakTheRecord() throws InvalidRequest {
        ProducerRecord<byte[], byte[]> record =
                records("{\"events\":[{\"event_name\":\"a\\\"b\",\"payload\":{\"k\\n\":\"é\\u00e9\\ud83d\\ude00\"}}]}").get(0);
        assertEquals("acct_bench/testmode/a\"b", text(record.key()));
        JsonObject value = new JsonObject(text(record.value()));
        assertEquals("a\"b", value.getString("event_name"));
        assertEquals("éé😀", value.getJsonObject("payload").getString("k\n"));
    }
}
