package meterevent

// ScanOnly makes a Decoder read every event by the scanner.
func (d *Decoder) ScanOnly() *Decoder {
	d.scanOnly = true
	return d
}

// Misses is how many events of the last request the scanner had to read.
func (d *Decoder) Misses() int { return d.layout.misses }

// ScratchBytes is how much scratch the Decoder holds.
func (d *Decoder) ScratchBytes() int { return cap(d.scratch) }
