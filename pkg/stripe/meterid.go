package stripe

const meterPrefix = "mtr_"

// AppendMeterID appends the identifier of a meter, mtr_… or mtr_test_…, made of 128 random bits.
func AppendMeterID(dst []byte, livemode bool, random [16]byte) []byte {
	return appendID(dst, meterPrefix, livemode, random)
}
