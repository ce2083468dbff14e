package tollgate.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.ethlo.time.ITU;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class EventsTest {
    private static List<MeterEvent> parse(String body) throws InvalidRequest {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        return Events.parse(bytes, bytes.length);
    }

    private static String withTimestamp(String text) {
        return "{\"events\":[{\"event_name\":\"m\",\"timestamp\":\"" + text + "\",\"payload\":{}}]}";
    }

    private static String withIdentifier(String text) {
        return "{\"events\":[{\"event_name\":\"m\",\"identifier\":\"" + text + "\",\"payload\":{}}]}";
    }

    private static String withEvents(int n) {
        return "{\"events\":["
                + String.join(",", Collections.nCopies(n, "{\"event_name\":\"m\",\"payload\":{}}")) + "]}";
    }

    @Test
    void aBadBodyIsRefused() {
        for (String body : List.of(
                "",
                "[]",
                "{}",
                "{\"events\":[]}",
                "{\"events\":{}}",
                "{\"events\":[1]}",
                "{\"events\":[{\"payload\":{}}]}",
                "{\"events\":[{\"event_name\":\"m\"}]}",
                "{\"events\":[{\"event_name\":\"\",\"payload\":{}}]}",
                "{\"events\":[{\"event_name\":1,\"payload\":{}}]}",
                "{\"events\":[{\"event_name\":\"m\",\"payload\":[]}]}",
                "{\"events\":[{\"event_name\":\"m\",\"payload\":{\"value\":25}}]}",
                "{\"events\":[{\"event_name\":\"m\",\"payload\":{}}",
                withEvents(1) + " trailing",
                withEvents(Events.EVENTS_MAX + 1),
                withIdentifier("é".repeat(Events.IDENTIFIER_CHARS_MAX + 1)))) {
            assertThrows(InvalidRequest.class, () -> parse(body), body);
        }
    }

    @Test
    void theLargestIsTakenAndWhatIsUnknownSkipped() throws InvalidRequest {
        assertEquals(Events.EVENTS_MAX, parse(withEvents(Events.EVENTS_MAX)).size());
        assertEquals(1, parse(withIdentifier("é".repeat(Events.IDENTIFIER_CHARS_MAX))).size());
        MeterEvent event = parse("{\"more\":[{}],\"events\":[{\"event_name\":\"m\",\"more\":{\"a\":[1]},"
                        + "\"payload\":{\"b\":\"1\",\"a\":\"2\"}}]}")
                .get(0);
        assertEquals(new MeterEvent("m", null, null, List.of("b", "1", "a", "2")), event);
    }

    @Test
    void timestampsAreMovedToUtc() throws InvalidRequest {
        for (String[] text : new String[][] {
            {"2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000Z"},
            {"2026-11-21T12:00:00.123987+05:30", "2026-11-21T06:30:00.123Z"},
            {"2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00.000Z"}
        }) {
            assertEquals(text[1], ITU.formatUtcMilli(parse(withTimestamp(text[0])).get(0).timestamp()));
        }
    }

    @Test
    void whatIsNoTimestampIsRefused() {
        for (String text : List.of(
                "", "yesterday", "2026-11-21", "2026-02-29T00:00:00Z", "2026-11-21T12:00:00", "2026-11-21T12:00Z",
                "0000-01-01T00:00:00+01:00")) {
            assertThrows(InvalidRequest.class, () -> parse(withTimestamp(text)), text);
        }
    }
}
