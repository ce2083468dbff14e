package tollgate.peer;

import java.time.OffsetDateTime;
import java.util.List;

/**
 * One event as it was sent.
 *
 * @param identifier null when absent
 * @param timestamp in UTC, null when absent
 * @param payload names and values by turns, in the order they were sent, which costs less than a map
 */
record MeterEvent(String name, String identifier, OffsetDateTime timestamp, List<String> payload) {}
