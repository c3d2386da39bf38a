"""Many photos in, a table of captions out: listed, read, captioned and written as a stream."""
