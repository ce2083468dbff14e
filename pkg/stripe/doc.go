// Package stripe holds what the gateway says to a Stripe SDK: error envelopes, response objects, identifiers, and
// the form encoding of v1 requests.
//
// The model is text in, text out. An *Error is a refusal in every part a client can see: status, headers and body;
// there is one constructor for each reason, so that a message is written once and tested once. AppendV1 and AppendV2
// render it in the envelope of the API that was called. Objects are appended field by field in the order of the
// Stripe API reference. A Form is a parsed v1 body with typed access that refuses in Stripe's own codes.
//
//	var form stripe.Form
//	if err := stripe.ParseForm(&form, body); err != nil {
//		refusal, _ := errors.AsType[*stripe.Error](err) // it always is one
//		for name, value := range refusal.Headers {
//			response.Header.Set(name, value)
//		}
//		return refusal.Status, refusal.AppendV1(buf)
//	}
//
// Append functions add to the caller's slice and keep nothing. Errors are fresh for each call and belong to the
// caller. A Form belongs to one goroutine at a time. Everything else may be called from many goroutines at once.
//
// Text from a client ends up in messages: it is clipped to clipBytesMax, and whatever is not UTF-8 becomes U+FFFD, so
// that an answer is always valid JSON.
//
// The package does no I/O, knows no HTTP library, keeps no clock and decides nothing: who is refused, and why, is
// the caller's to say. The shapes are those of the Stripe API reference (meter events v1 and v2, errors); where it is
// silent, docs/COMPATIBILITY.md says what we do.
package stripe
