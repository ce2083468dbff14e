package tollgate.peer;

import io.vertx.core.buffer.Buffer;
import java.util.Arrays;

/**
 * A request body as one array, which is what the parser wants, copied once when its length was announced. What is
 * longer than the bound is not kept.
 */
final class Body {
    private static final int UNANNOUNCED_BYTES = 4 << 10;

    private final int bytesMax;
    private byte[] bytes;
    private int length;
    private boolean tooLong;

    /** contentLength is the header, null when absent. */
    Body(String contentLength, int bytesMax) {
        this.bytesMax = bytesMax;
        int size = UNANNOUNCED_BYTES;
        if (contentLength != null) {
            size = (int) Math.min(Long.parseLong(contentLength), bytesMax); // the HTTP decoder has checked it
        }
        bytes = new byte[size];
    }

    void append(Buffer chunk) {
        int end = length + chunk.length();
        if (tooLong || end > bytesMax) {
            tooLong = true;
            return;
        }
        if (end > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(end, Math.min(2 * bytes.length, bytesMax)));
        }
        chunk.getBytes(bytes, length);
        length = end;
    }

    /** Valid up to {@link #length}. */
    byte[] bytes() {
        return bytes;
    }

    int length() {
        return length;
    }

    boolean tooLong() {
        return tooLong;
    }
}
