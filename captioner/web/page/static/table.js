// Captions taken along: a table as CSV, as `captioner caption --out` writes it, and the clipboard.

const COLUMNS = ["photo", "caption", "confidence", "log_prob", "error", "model", "alternatives"];
const DIGITS = 4;

/** Return the photos that have a caption, or cannot have one, as the text of a CSV file. */
export function toCsv(photos) {
  const rows = photos.filter((photo) => photo.reply || photo.problem).map(rowOf);
  return [COLUMNS, ...rows].map((row) => `${row.map(field).join(",")}\n`).join("");
}

function rowOf({ name, reply, problem }) {
  if (!reply) {
    return [name, "", "", "", problem.message, "", ""];
  }
  const others = (reply.alternatives ?? []).map(({ caption, confidence, log_prob }) => ({
    caption,
    confidence: rounded(confidence),
    log_prob: rounded(log_prob),
  }));
  const { caption, confidence, log_prob, model } = reply;
  const numbers = [rounded(confidence), rounded(log_prob)];
  return [name, caption, ...numbers, "", model.digest, JSON.stringify(others)];
}

function rounded(number) {
  return number === null ? null : Number(number.toFixed(DIGITS));
}

function field(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Have the browser save a text as a file. */
export function download(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Copy a text; throws if the browser does not allow it. */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Browsers have no clipboard for pages that came without TLS from another machine.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) {
    throw new Error("the browser does not allow it");
  }
}
