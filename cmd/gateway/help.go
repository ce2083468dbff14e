package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// examples end the help of a command. The key is the command's path; tests run what stands here against the grammar.
var examples = map[string]string{
	"gateway": `
gateway serve
gateway serve --kafka-brokers broker1:9092,broker2:9092 --api-keys acct_demo:sk_test_123
gateway check-config --config gateway.yaml`,
	"gateway serve": `
gateway serve     # embedded journal in ./data, with a test key that it prints
gateway serve --listen 0.0.0.0:8080 --api-keys acct_demo:sk_test_123,acct_demo:rk_test_456
gateway serve --kafka-brokers broker1:9092,broker2:9092 --api-keys acct_demo:sk_test_123
gateway serve --config gateway.yaml --tls-cert chain.pem --tls-key key.pem`,
	"gateway check-config": `
gateway check-config --config gateway.yaml`,
	"gateway journal": `
gateway journal dump --data-dir ./data
gateway journal verify --data-dir ./data`,
	"gateway journal verify": `
gateway journal verify --data-dir ./data`,
	"gateway journal dump": `
gateway journal dump --data-dir ./data
gateway journal dump --topic tollgate.usage --partition 0 --offset 1000 --limit 10
gateway journal dump --batches`,
	"gateway journal repair": `
gateway journal repair --data-dir ./data`,
	"gateway state": `
gateway state verify --data-dir ./data
gateway state rebuild --data-dir ./data`,
	"gateway state verify": `
gateway state verify --data-dir ./data
gateway state verify --config gateway.yaml`,
	"gateway state rebuild": `
gateway state rebuild --data-dir ./data`,
	"gateway fate": `
gateway fate req-123 --event-name api_requests
gateway fate req-123 --url http://127.0.0.1:8080 --key sk_test_123`,
	"gateway listen": `
gateway listen     # prints thin events of the gateway on this machine
gateway listen --forward-to http://localhost:3000/webhook --key sk_test_123
gateway listen --events v1.billing.meter.error_report_triggered --print-json`,
	"gateway events": `
gateway events list --limit 5
gateway events resend evt_test_123 --destination ed_test_456`,
	"gateway events list": `
gateway events list --key sk_test_123
gateway events list --events v1.billing.meter.no_meter_found --print-json`,
	"gateway events resend": `
gateway events resend evt_test_123 --destination ed_test_456 --key sk_test_123`,
	"gateway forward": `
gateway forward dead list --business acct_demo
gateway forward dead retry --business acct_demo --refused`,
	"gateway forward dead": `
gateway forward dead list --print-json
gateway forward dead retry 3-1207-9f86d081884c`,
	"gateway forward dead list": `
gateway forward dead list
gateway forward dead list --business acct_demo --limit 1000 --print-json`,
	"gateway forward dead retry": `
gateway forward dead retry 3-1207-9f86d081884c
gateway forward dead retry --business acct_demo --refused     # after what was missing at Stripe was made there`,
	"gateway drain": `
gateway drain
gateway drain --before 2026-12-01T00:00:00Z --timeout 1h`,
	"gateway reconcile": `
gateway reconcile --business acct_demo --from 2026-11-01 --to 2026-12-01     # after gateway drain
gateway reconcile --business acct_demo --from 2026-11-01 --to 2026-12-01 --meter api_requests --customer cus_123 --format csv`,
	"gateway health": `
gateway health
gateway health --live --admin-listen 127.0.0.1:9090`,
}

// printHelp is kong's help with the examples behind it.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node
	}
	if text := examples[node.FullPath()]; text != "" {
		fmt.Fprintf(ctx.Stdout, "\nExamples:%s\n", strings.ReplaceAll(text, "\n", "\n  "))
	}
	return nil
}

// commandOf is the command whose arguments were wrong, as it is written on the command line.
func commandOf(err error) string {
	var pe *kong.ParseError
	if errors.As(err, &pe) {
		if node := pe.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "gateway"
}
