package tollgate.peer;

import com.ethlo.time.ITU;
import io.vertx.core.Future;
import io.vertx.core.VerticleBase;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpHeaders;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServerOptions;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpServerResponse;
import io.vertx.core.json.JsonObject;
import io.vertx.core.net.SocketAddress;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.UUID;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The HTTP surface, one instance an event loop: readiness, sessions and the event stream. */
final class Api extends VerticleBase {
    static final int BODY_BYTES_MAX = 1 << 20;

    /** A body of 100 events arrives in one read and is handed on in one piece. */
    private static final int CHUNK_BYTES = 64 << 10;

    private static final String BEARER = "Bearer ";
    private static final CharSequence JSON = HttpHeaders.createOptimized("application/json");
    private static final Buffer OK = Buffer.buffer("ok");
    private static final Buffer EMPTY_OBJECT = Buffer.buffer("{}");

    private final SocketAddress address;
    private final String key;
    private final Sessions sessions;
    private final Records records;
    private final Producer<byte[], byte[]> producer;

    Api(SocketAddress address, String key, Sessions sessions, Records records, Producer<byte[], byte[]> producer) {
        this.address = address;
        this.key = key;
        this.sessions = sessions;
        this.records = records;
        this.producer = producer;
    }

    @Override
    public Future<?> start() {
        HttpServerOptions options = new HttpServerOptions().setMaxChunkSize(CHUNK_BYTES);
        return vertx.createHttpServer(options).requestHandler(this::route).listen(address);
    }

    private void route(HttpServerRequest request) {
        boolean post = request.method() == HttpMethod.POST;
        switch (request.path()) {
            case "/v2/billing/meter_event_stream" -> {
                if (post) {
                    stream(request);
                    return;
                }
            }
            case "/v2/billing/meter_event_session" -> {
                if (post) {
                    openSession(request);
                    return;
                }
            }
            case "/livez" -> {
                request.response().end(OK);
                return;
            }
            default -> {}
        }
        error(request.response(), 404, "not_found", "there is nothing here", "invalid_request_error");
    }

    private void openSession(HttpServerRequest request) {
        if (!key.equals(bearer(request))) {
            unauthorized(request);
            return;
        }
        OffsetDateTime now = OffsetDateTime.now(ZoneOffset.UTC);
        String token = sessions.open(now.toInstant());
        if (token == null) {
            error(request.response(), 429, "rate_limit", "too many sessions are open", "rate_limit_error");
            return;
        }
        JsonObject session = new JsonObject()
                .put("object", "v2.billing.meter_event_session")
                .put("id", "mtes_test_" + UUID.randomUUID().toString().replace("-", ""))
                .put("authentication_token", token)
                .put("created", ITU.formatUtcMilli(now))
                .put("expires_at", ITU.formatUtcMilli(now.plus(Sessions.LIFE)))
                .put("livemode", false);
        answer(request.response(), 200, session.toBuffer());
    }

    private void stream(HttpServerRequest request) {
        String token = bearer(request);
        if (token == null || !sessions.isOpen(token, Instant.now())) {
            unauthorized(request);
            return;
        }
        Body body = new Body(request.getHeader(HttpHeaders.CONTENT_LENGTH), BODY_BYTES_MAX);
        request.handler(body::append).endHandler(end -> produce(request.response(), body));
    }

    private void produce(HttpServerResponse response, Body body) {
        List<ProducerRecord<byte[], byte[]>> made;
        try {
            if (body.tooLong()) {
                throw new InvalidRequest("the body is longer than " + BODY_BYTES_MAX + " bytes");
            }
            made = records.of(Events.parse(body.bytes(), body.length()), OffsetDateTime.now(ZoneOffset.UTC));
        } catch (InvalidRequest e) {
            error(response, 400, "invalid_fields", e.getMessage(), "invalid_request_error");
            return;
        }
        Acks.send(producer, made, context, acknowledged -> {
            if (acknowledged) {
                answer(response, 200, EMPTY_OBJECT);
            } else {
                // Some records may have been written: that nothing was stored can not be said.
                error(response, 503, "outcome_unknown", "Kafka did not acknowledge all events", "api_error");
            }
        });
    }

    private static String bearer(HttpServerRequest request) {
        String header = request.getHeader(HttpHeaders.AUTHORIZATION);
        return header != null && header.startsWith(BEARER) ? header.substring(BEARER.length()) : null;
    }

    private static void unauthorized(HttpServerRequest request) {
        error(request.response(), 401, "unauthorized", "the bearer token is missing, unknown or expired",
                "invalid_request_error");
    }

    private static void error(HttpServerResponse response, int status, String code, String message, String type) {
        JsonObject error = new JsonObject().put("code", code).put("message", message).put("type", type);
        answer(response, status, new JsonObject().put("error", error).toBuffer());
    }

    private static void answer(HttpServerResponse response, int status, Buffer body) {
        response.setStatusCode(status).putHeader(HttpHeaders.CONTENT_TYPE, JSON).end(body);
    }
}
