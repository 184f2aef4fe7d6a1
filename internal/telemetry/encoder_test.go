package telemetry_test

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// encoder prints attributes as "key=value", in the order of the keys, and escapes nothing.
type encoder struct{}

// Encode implements attribute.Encoder.
func (encoder) Encode(attributes attribute.Iterator) string {
	var all []string
	for attributes.Next() {
		kv := attributes.Attribute()
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(all, ",")
}

// ID implements attribute.Encoder.
func (encoder) ID() attribute.EncoderID { return encoderID }

var encoderID = attribute.NewEncoderID()
