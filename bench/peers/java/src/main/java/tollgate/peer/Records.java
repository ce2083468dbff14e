package tollgate.peer;

import com.ethlo.time.ITU;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.io.SerializedString;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Makes the Kafka records of a request; any number of threads may use it at once. */
final class Records {
    private static final int RECORD_BYTES = 512;
    private static final SerializableString OBJECT = new SerializedString("object");
    private static final SerializableString METER_EVENT = new SerializedString("meter_event");
    private static final SerializableString BUSINESS = new SerializedString("business");
    private static final SerializableString LIVEMODE = new SerializedString("livemode");
    private static final SerializableString EVENT_NAME = new SerializedString("event_name");
    private static final SerializableString IDENTIFIER = new SerializedString("identifier");
    private static final SerializableString TIMESTAMP = new SerializedString("timestamp");
    private static final SerializableString RECEIVED = new SerializedString("received");
    private static final SerializableString PAYLOAD = new SerializedString("payload");

    private final String topic;
    private final SerializableString business;
    private final String keyPrefix;

    Records(String topic, String business) {
        this.topic = topic;
        this.business = new SerializedString(business);
        this.keyPrefix = business + "/testmode/";
    }

    /**
     * All records of a request are made before the first is sent, so that one that can not be written leaves nothing
     * behind. One generator writes them all: to set one up costs as much as a record.
     */
    List<ProducerRecord<byte[], byte[]>> of(List<MeterEvent> events, OffsetDateTime received) throws InvalidRequest {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>(events.size());
        SerializableString receivedText = new SerializedString(ITU.formatUtcMilli(received));
        ByteArrayOutputStream out = new ByteArrayOutputStream(RECORD_BYTES);
        try (JsonGenerator json = Events.JSON.createGenerator(out)) {
            for (MeterEvent event : events) {
                write(json, event, receivedText);
                json.flush();
                byte[] key = (keyPrefix + event.name()).getBytes(StandardCharsets.UTF_8);
                records.add(new ProducerRecord<>(topic, key, out.toByteArray()));
                out.reset();
            }
        } catch (IOException e) {
            throw new InvalidRequest(e.getMessage());
        }
        return records;
    }

    private void write(JsonGenerator json, MeterEvent event, SerializableString received) throws IOException {
        json.writeStartObject();
        json.writeFieldName(OBJECT);
        json.writeString(METER_EVENT);
        json.writeFieldName(BUSINESS);
        json.writeString(business);
        json.writeFieldName(LIVEMODE);
        json.writeBoolean(false);
        json.writeFieldName(EVENT_NAME);
        json.writeString(event.name());
        json.writeFieldName(IDENTIFIER);
        json.writeString(event.identifier() != null ? event.identifier() : newIdentifier());
        json.writeFieldName(TIMESTAMP);
        if (event.timestamp() != null) {
            json.writeString(ITU.formatUtcMilli(event.timestamp()));
        } else {
            json.writeString(received);
        }
        json.writeFieldName(RECEIVED);
        json.writeString(received);
        json.writeFieldName(PAYLOAD);
        json.writeStartObject();
        List<String> payload = event.payload();
        for (int i = 0; i < payload.size(); i += 2) {
            json.writeFieldName(payload.get(i));
            json.writeString(payload.get(i + 1));
        }
        json.writeEndObject();
        json.writeEndObject();
    }

    /** Identifiers must differ and need not be secret: UUID.randomUUID would take turns at one SecureRandom. */
    private static String newIdentifier() {
        ThreadLocalRandom dice = ThreadLocalRandom.current();
        return new UUID(dice.nextLong(), dice.nextLong()).toString();
    }
}
