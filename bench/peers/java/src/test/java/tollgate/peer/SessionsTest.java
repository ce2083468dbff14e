package tollgate.peer;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import org.junit.jupiter.api.Test;

class SessionsTest {
    private final Sessions sessions = new Sessions();
    private final Instant now = Instant.now();

    @Test
    void aTokenIsGoodUntilItsSessionEnds() {
        String token = sessions.open(now);
        assertTrue(sessions.isOpen(token, now));
        assertFalse(sessions.isOpen(token, now.plus(Sessions.LIFE)));
        assertFalse(sessions.isOpen("another", now));
    }

    @Test
    void sessionsAreBoundedAndMakeRoomWhenTheyEnd() {
        for (int i = 0; i < Sessions.SESSIONS_MAX; i++) {
            assertNotNull(sessions.open(now));
        }
        assertNull(sessions.open(now));
        assertNotNull(sessions.open(now.plus(Sessions.LIFE)));
    }
}
