// Package vfs is the disk as the journal sees it: an interface small enough to be implemented twice.
//
// OS is the real one. Mem, made by NewMem, is a disk in memory that a test can pull the plug of: it forgets bytes and
// directory entries that were not synced, keeps a random part of them instead, fails calls, runs full and flips bits,
// all from one seed.
//
// The model that both follow, and that a caller may rely on:
//
//   - bytes written are durable when a Sync that began after the write has returned nil;
//   - a name created, renamed or removed is durable when a SyncDir of its directory has returned nil;
//   - a rename shows the old file or the new one, never none;
//   - when a Sync fails, nothing is known of the bytes written before it, now or after any later Sync of that file.
//
// An FS may be used from many goroutines at once; so may a File, as long as writes do not overlap. Errors are those of
// package os, so that errors.Is(err, fs.ErrNotExist) and errors.Is(err, syscall.ENOSPC) work with both.
//
//	f, err := vfs.OS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
//	n, err := f.WriteAt(0, header, body) // both, at offset 0
//	err = f.Sync()
//	err = vfs.OS.SyncDir(filepath.Dir(path))
//
// It will not buffer, retry or cache, and knows neither permissions (files are 0600, directories 0700) nor links, which
// it follows.
package vfs

// FS is a file system.
type FS interface {
	// OpenFile opens a file; flag is as for os.OpenFile.
	OpenFile(path string, flag int) (File, error)
	// MkdirAll makes a directory and its parents. Their names are durable when each parent has been synced.
	MkdirAll(path string) error
	// ReadDir lists a directory, sorted by name. A link counts as what it leads to, as an empty file when it leads
	// nowhere.
	ReadDir(path string) ([]Entry, error)
	// Rename moves a file within one directory, over an existing one if there is one.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	// Space tells how much room the file system that holds path has.
	Space(path string) (Space, error)
}

// File is an open file.
type File interface {
	// ReadAt is io.ReaderAt's.
	ReadAt(p []byte, offset int64) (n int, err error)
	// WriteAt writes the buffers one after the other, in as few calls as the system allows. An error comes with the
	// number of bytes written before it; less than everything always has an error.
	WriteAt(offset int64, buffers ...[]byte) (n int64, err error)
	// Sync makes what was written, and the file's size, durable (fdatasync).
	Sync() error
	// Truncate sets the size. What is allocated behind the new end is given back, unless the file grows.
	Truncate(size int64) error
	// Preallocate reserves disk space for length bytes from offset on, at or behind the end of the file, whose size and
	// content stay as they are: writes to there need no more room. A file system that can not gives
	// errors.ErrUnsupported, one that has no room ENOSPC, and a part may be reserved then. A reservation is not content:
	// after a power loss it may be there or not, whatever was synced.
	Preallocate(offset, length int64) error
	// Forget tells that these bytes, which are durable, will not be read soon, so that the system need not keep them in
	// memory. It is advice: they read as before, and there is no error. What Linux keeps in one piece, of up to 2 MiB, and is
	// only partly among them may stay.
	Forget(offset, length int64)
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Nameless tells that the file had a name when it was opened and has none any more: it was removed, or another one
	// renamed over it, and what is in it goes when it is closed. False when that is not known.
	Nameless() bool
	Close() error
}

// Entry is one name in a directory.
type Entry struct {
	Name  string
	Dir   bool
	Bytes int64 // of a file
}

// Space is the room on a file system, in bytes. Free is what an unprivileged process may still use.
type Space struct{ Free, Total int64 }
