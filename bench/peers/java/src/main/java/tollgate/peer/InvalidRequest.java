package tollgate.peer;

/** What is wrong with a request body; answered 400. It has no stack trace, which would cost more than the request. */
final class InvalidRequest extends Exception {
    private static final long serialVersionUID = 1;

    InvalidRequest(String message) {
        super(message, null, false, false);
    }
}
