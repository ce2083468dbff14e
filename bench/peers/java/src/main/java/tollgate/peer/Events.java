package tollgate.peer;

import com.ethlo.time.ITU;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import java.io.IOException;
import java.time.DateTimeException;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;

/** Reads a request body token by token: databind would build and fill the same objects by way of reflection. */
final class Events {
    static final int EVENTS_MAX = 100;
    static final int IDENTIFIER_CHARS_MAX = 100;

    /**
     * Interning takes a lock of the whole JVM for names that are compared by equals here. Characters beyond 16 bits are
     * written as they are, not as two escapes.
     */
    static final JsonFactory JSON = new JsonFactoryBuilder()
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .enable(JsonWriteFeature.COMBINE_UNICODE_SURROGATES_IN_UTF8)
            .rootValueSeparator((String) null)
            .build();

    private Events() {}

    /** Returns the 1 to {@link #EVENTS_MAX} events of a body; unknown fields are skipped. */
    static List<MeterEvent> parse(byte[] body, int length) throws InvalidRequest {
        try (JsonParser p = JSON.createParser(body, 0, length)) {
            List<MeterEvent> events = null;
            expect(p.nextToken(), JsonToken.START_OBJECT, "the body");
            for (String field; (field = p.nextFieldName()) != null; ) {
                JsonToken value = p.nextToken();
                if (field.equals("events")) {
                    expect(value, JsonToken.START_ARRAY, "events");
                    events = parseEvents(p);
                } else {
                    p.skipChildren();
                }
            }
            if (events == null || events.isEmpty()) {
                throw new InvalidRequest("events must hold 1 to " + EVENTS_MAX + " events");
            }
            expect(p.nextToken(), null, "what follows the body");
            return events;
        } catch (JsonProcessingException e) {
            throw new InvalidRequest(e.getOriginalMessage());
        } catch (IOException e) {
            throw new InvalidRequest(e.toString());
        }
    }

    private static List<MeterEvent> parseEvents(JsonParser p) throws IOException, InvalidRequest {
        List<MeterEvent> events = new ArrayList<>(EVENTS_MAX);
        while (p.nextToken() != JsonToken.END_ARRAY) {
            if (events.size() == EVENTS_MAX) {
                throw new InvalidRequest("events must hold 1 to " + EVENTS_MAX + " events");
            }
            expect(p.currentToken(), JsonToken.START_OBJECT, "an event");
            events.add(parseEvent(p));
        }
        return events;
    }

    private static MeterEvent parseEvent(JsonParser p) throws IOException, InvalidRequest {
        String name = null;
        String identifier = null;
        OffsetDateTime timestamp = null;
        List<String> payload = null;
        for (String field; (field = p.nextFieldName()) != null; ) {
            JsonToken value = p.nextToken();
            switch (field) {
                case "event_name" -> name = text(p, value, field);
                case "identifier" -> identifier = value == JsonToken.VALUE_NULL ? null : text(p, value, field);
                case "timestamp" -> timestamp = value == JsonToken.VALUE_NULL ? null : timestamp(text(p, value, field));
                case "payload" -> {
                    expect(value, JsonToken.START_OBJECT, field);
                    payload = parsePayload(p);
                }
                default -> p.skipChildren();
            }
        }
        if (name == null || name.isEmpty()) {
            throw new InvalidRequest("event_name is required");
        }
        if (payload == null) {
            throw new InvalidRequest("payload is required");
        }
        if (identifier != null && isLonger(identifier, IDENTIFIER_CHARS_MAX)) {
            throw new InvalidRequest("identifier is longer than " + IDENTIFIER_CHARS_MAX + " characters");
        }
        return new MeterEvent(name, identifier, timestamp, payload);
    }

    private static List<String> parsePayload(JsonParser p) throws IOException, InvalidRequest {
        List<String> fields = new ArrayList<>(4);
        for (String field; (field = p.nextFieldName()) != null; ) {
            fields.add(field);
            fields.add(text(p, p.nextToken(), field));
        }
        return fields;
    }

    /** The years are those that four digits can write, also in UTC. */
    private static OffsetDateTime timestamp(String text) throws InvalidRequest {
        try {
            OffsetDateTime utc = ITU.parseDateTime(text).withOffsetSameInstant(ZoneOffset.UTC);
            if (utc.getYear() >= 0 && utc.getYear() <= 9999) {
                return utc;
            }
        } catch (DateTimeException e) {
            // Answered below.
        }
        throw new InvalidRequest("timestamp is not a timestamp of RFC 3339");
    }

    private static String text(JsonParser p, JsonToken value, String field) throws IOException, InvalidRequest {
        if (value != JsonToken.VALUE_STRING) {
            throw new InvalidRequest(field + " must be a string");
        }
        return p.getText();
    }

    private static boolean isLonger(String text, int charsMax) {
        return text.length() > charsMax && text.codePointCount(0, text.length()) > charsMax;
    }

    private static void expect(JsonToken token, JsonToken wanted, String what) throws InvalidRequest {
        if (token != wanted) {
            throw new InvalidRequest(what + " is " + token + " where " + wanted + " must be");
        }
    }
}
