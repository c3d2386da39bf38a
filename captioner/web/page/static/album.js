// The photos of the page and what is known of each. They are captioned in turn, a few at once.

const AT_ONCE = 4; // requests
export const State = {
  WAITING: "waiting",
  ASKED: "asked",
  BUSY: "busy", // the server is; it is asked again
  DONE: "done",
  FAILED: "failed",
};

export class Album {
  /**
   * `options()` returns the options of requests, and `onChange(photo)` is called whenever
   * something about a photo has changed.
   */
  constructor(server, options, onChange) {
    this.server = server;
    this.options = options;
    this.onChange = onChange;
    this.photos = [];
    this.round = newRound();
  }

  /** Add files, and return their photos. */
  add(files) {
    const added = files.map((file) => ({ file, name: file.name, url: URL.createObjectURL(file) }));
    this.photos.push(...added);
    this.caption(added);
    return added;
  }

  /** Caption some photos, again if they have captions. */
  caption(photos) {
    for (const photo of photos) {
      change(this, photo, { state: State.WAITING, reply: null, problem: null });
    }
    const { round } = this;
    while (round.workers < Math.min(AT_ONCE, this.count(State.WAITING))) {
      round.workers += 1;
      work(this, round).finally(() => (round.workers -= 1));
    }
  }

  /** Caption all photos again, with options that have changed. */
  captionAll() {
    this.stop();
    this.caption(this.photos);
  }

  /** Forget all photos. */
  clear() {
    this.stop();
    this.photos.forEach((photo) => URL.revokeObjectURL(photo.url));
    this.photos = [];
  }

  stop() {
    this.round.abort.abort();
    this.round = newRound();
  }

  /** Return the number of photos in some states. */
  count(...states) {
    return this.photos.filter((photo) => states.includes(photo.state)).length;
  }
}

/** The requests under way, which are stopped together. */
function newRound() {
  return { abort: new AbortController(), workers: 0 };
}

async function work(album, round) {
  const { signal } = round.abort;
  for (;;) {
    const photo = album.photos.find((each) => each.state === State.WAITING);
    if (signal.aborted || photo === undefined) {
      return;
    }
    const ifCurrent = (changes) => signal.aborted || change(album, photo, changes);
    ifCurrent({ state: State.ASKED });
    const onBusy = () => ifCurrent({ state: State.BUSY });
    try {
      const reply = await album.server.caption(photo.file, album.options(), onBusy, signal);
      ifCurrent({ state: State.DONE, reply });
    } catch (problem) {
      ifCurrent({ state: State.FAILED, problem });
    }
  }
}

function change(album, photo, changes) {
  Object.assign(photo, changes);
  album.onChange(photo);
}
