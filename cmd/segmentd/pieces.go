package main

import (
	"bufio"
	"bytes"
	"io"
)

// piece is the lines that were read at once.
type piece struct {
	lines []string // as they are, with their ends
	err   error    // why it is the last one: io.EOF, or what the source says
}

// pieceBytes is about how much is read at once: what a pipe of Linux holds (pipe(7)).
const pieceBytes = 64 << 10

// readPieces offers what comes from a source as soon as it has come, up to the end or
// until stop is closed, and then closes the source. It keeps no whole line back, so that
// what it does not offer was not read.
//
// Nobody waits for its goroutine: within a read of a pipe that stays open it ends with
// the process.
func readPieces(r io.Reader, closer io.Closer, stop <-chan struct{}) <-chan piece {
	pieces := make(chan piece)
	go func() {
		defer closer.Close()
		lines := bufio.NewReaderSize(r, pieceBytes)
		for ended := false; !ended; {
			p := readPiece(lines)
			ended = p.err != nil
			select {
			case pieces <- p:
			case <-stop:
				return
			}
		}
	}()
	return pieces
}

// readPiece waits for one line and takes those that came with it.
func readPiece(lines *bufio.Reader) (p piece) {
	for whole := true; whole && p.err == nil; {
		var line string
		line, p.err = lines.ReadString('\n')
		p.lines = append(p.lines, line)
		read, _ := lines.Peek(lines.Buffered())
		whole = bytes.IndexByte(read, '\n') >= 0
	}
	return p
}
