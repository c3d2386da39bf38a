// What goes wrong, in words for people.

/** A photo that has no caption; `again` is whether another try may help. */
export class Problem extends Error {
  constructor(message, again = false) {
    super(message);
    this.again = again;
  }
}

export const EMPTY = "This file is empty.";
export const UNREADABLE = "This file can no longer be read. Choose it again.";
export const GONE =
  "The captioner does not answer. It may have been stopped, or the connection is gone.";
export const STILL_BUSY = "The captioner is busy, and has been for minutes.";

export function tooLarge(maxBytes) {
  const size = maxBytes >= 2 ** 20 ? `${Math.floor(maxBytes / 2 ** 20)} MB` : `${maxBytes} bytes`;
  return `This photo is too large. The captioner takes photos of up to ${size}.`;
}

/** Return the problem that a reply which is no caption stands for. */
export function problemOf(status, body, formats) {
  const code = body?.error?.code ?? body?.code;
  const said = body?.error?.message ?? body?.message ?? "";
  if (code === "invalid_option") {
    return new Problem(`The captioner cannot use an option: ${said}. Change it below.`, true);
  }
  if (code === "invalid_image") {
    return new Problem("This is no photo that can be read. The file may be damaged.");
  }
  if (status === 413) {
    return new Problem("This photo is too large for the captioner.");
  }
  if (status === 415) {
    const read = formats.length ? ` It reads ${formats.join(", ")}.` : "";
    return new Problem(`The captioner does not read this kind of file.${read}`);
  }
  if (status === 404 || status === 405) {
    return new Problem("There is no captioner at this address.");
  }
  if (status === 502 || status === 504) {
    return new Problem(GONE, true);
  }
  if (status >= 500 || status === 408) {
    return new Problem("The captioner failed at this photo.", true);
  }
  return new Problem(`The captioner did not take this photo (${status}).`, true);
}
