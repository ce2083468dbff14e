package tollgate.peer;

import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Meter event sessions: random tokens that are good for 15 minutes, kept in memory; any thread may ask. */
final class Sessions {
    static final Duration LIFE = Duration.ofMinutes(15);
    static final int SESSIONS_MAX = 10_000;
    private static final int TOKEN_BYTES = 24;

    private final Map<String, Instant> ends = new ConcurrentHashMap<>();
    private final SecureRandom dice = new SecureRandom();

    /** Returns a new token; null when there are too many already. */
    synchronized String open(Instant now) {
        if (ends.size() >= SESSIONS_MAX) {
            ends.values().removeIf(end -> !end.isAfter(now));
        }
        if (ends.size() >= SESSIONS_MAX) {
            return null;
        }
        byte[] random = new byte[TOKEN_BYTES];
        dice.nextBytes(random);
        String token = Base64.getUrlEncoder().withoutPadding().encodeToString(random);
        ends.put(token, now.plus(LIFE));
        return token;
    }

    boolean isOpen(String token, Instant now) {
        Instant end = ends.get(token);
        return end != null && end.isAfter(now);
    }
}
