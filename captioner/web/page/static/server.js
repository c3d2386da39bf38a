// Ask the captioner behind this page.

import { EMPTY, GONE, Problem, problemOf, STILL_BUSY, tooLarge, UNREADABLE } from "./problems.js";

const CAPTIONS = "predictions/captioner", DESCRIPTION = "models/captioner";
const BUSY = 503;
const PAUSE = 5, MAX_PAUSE = 30; // seconds before a busy server is asked again
const PATIENCE = 300; // seconds after which it is no longer asked
const ALWAYS = { "X-Caption-Return-Attention": "true", "X-Caption-Return-Image": "true" };

export class Server {
  /**
   * `askForToken(refused)` returns a promise of what the reader of the page enters.
   */
  constructor(maxBytes, askForToken) {
    this.maxBytes = maxBytes;
    this.formats = [];
    this.askForToken = askForToken;
    this.token = null;
    this.asking = null; // the promise of a token, if it is asked for at the moment
  }

  /** Learn the limits, formats and options of the captioner; null if the server does not say. */
  async describe() {
    try {
      const response = await this.send(DESCRIPTION, { method: "GET" });
      if (!response.ok) {
        return null;
      }
      const description = await response.json();
      this.maxBytes = description.limits.bytes_a_photo;
      this.formats = description.formats;
      return description;
    } catch {
      return null; // the page works without
    }
  }

  /**
   * Caption a photo. Calls `onBusy` when a busy server is waited for.
   * Throws a Problem, or an AbortError once the signal aborts.
   */
  async caption(file, options, onBusy, signal) {
    if (file.size === 0) {
      throw new Problem(EMPTY);
    }
    if (file.size > this.maxBytes) {
      throw new Problem(tooLarge(this.maxBytes));
    }
    // A type that the browser guessed from the name would be believed; bytes are looked at.
    const headers = { "Content-Type": "application/octet-stream", ...ALWAYS, ...options };
    const until = Date.now() + 1e3 * PATIENCE;
    for (;;) {
      const response = await this.sendFile(file, headers, signal);
      if (response.status !== BUSY) {
        return readReply(response, this.formats);
      }
      if (Date.now() > until) {
        throw new Problem(STILL_BUSY, true);
      }
      onBusy();
      await pause(secondsOf(response), signal);
    }
  }

  async sendFile(file, headers, signal) {
    try {
      return await this.send(CAPTIONS, { method: "POST", headers, body: file, signal });
    } catch (error) {
      if (error.name === "AbortError") {
        throw error;
      }
      const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
      throw readable ? new Problem(GONE, true) : new Problem(UNREADABLE);
    }
  }

  /** Send a request, with a token once the server asks for one. */
  async send(path, request) {
    for (;;) {
      const token = this.token;
      const own = token === null ? {} : { Authorization: `Bearer ${token}` };
      const headers = { ...request.headers, ...own };
      const response = await fetch(path, { ...request, headers });
      if (!(await wantsToken(response))) {
        return response;
      }
      if (token === this.token) { // no other request has got another one meanwhile
        this.asking ??= this.askForToken(token !== null).then((entered) => {
          this.token = entered;
          this.asking = null;
        });
        await this.asking;
      }
    }
  }
}

async function readReply(response, formats) {
  const body = await response.json().catch(() => null);
  if (response.ok && body?.caption !== undefined) {
    return body;
  }
  throw problemOf(response.status, body, formats);
}

/** Whether a server refuses a request for its token: TorchServe does so with 400. */
async function wantsToken(response) {
  if (response.status === 401) {
    return true;
  }
  const body = response.status === 400 && (await response.clone().json().catch(() => null));
  return body?.type === "InvalidKeyException";
}

function secondsOf(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return seconds > 0 ? Math.min(seconds, MAX_PAUSE) : PAUSE;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, 1e3 * seconds);
    signal.addEventListener("abort", aborted, { once: true });
  });
}
