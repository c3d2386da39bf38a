// All photos of the page, small, with their captions; one is chosen to be shown large.

import { State } from "./album.js";

export class Gallery {
  /** `onChoose(photo)` is called when a photo is clicked. */
  constructor(onChoose) {
    const find = (id) => document.getElementById(id);
    this.onChoose = onChoose;
    this.part = find("gallery");
    this.list = find("thumbnails");
    this.words = find("progress-words");
    this.bar = find("progress");
    this.items = new Map();
  }

  /** Show the album; a single photo needs no gallery. */
  show(album, chosen) {
    this.part.hidden = album.photos.length < 2;
    for (const photo of album.photos) {
      this.update(photo);
    }
    this.choose(chosen);
    this.showProgress(album);
  }

  /** Show what has changed about a photo. */
  update(photo) {
    if (!this.items.has(photo)) {
      const item = new Thumbnail(photo, () => this.onChoose(photo));
      this.items.set(photo, item);
      this.list.append(item.element);
    }
    this.items.get(photo).update(photo);
  }

  choose(chosen) {
    for (const [photo, item] of this.items) {
      item.mark(photo === chosen);
    }
  }

  showProgress(album) {
    const total = album.photos.length;
    const failed = album.count(State.FAILED), done = album.count(State.DONE);
    this.bar.max = total || 1;
    this.bar.value = failed + done;
    this.bar.hidden = failed + done === total;
    this.words.textContent = progressWords(total, done, failed);
  }

  clear() {
    this.items.clear();
    this.list.replaceChildren();
  }
}

export function progressWords(total, done, failed) {
  const lacking = failed ? `, ${failed} could not be` : "";
  return `${done} of ${total} captioned${lacking}`;
}

const WORDS = {
  [State.WAITING]: "waiting",
  [State.ASKED]: "…",
  [State.BUSY]: "busy, waiting",
};

class Thumbnail {
  constructor(photo, onClick) {
    this.element = document.createElement("li");
    this.button = document.createElement("button");
    this.button.type = "button";
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.decoding = "async";
    image.src = photo.url;
    image.addEventListener("error", () => image.removeAttribute("src"), { once: true });
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = photo.name;
    this.text = document.createElement("span");
    this.button.append(image, name, this.text);
    this.button.addEventListener("click", onClick);
    this.element.append(this.button);
  }

  update({ state, reply, problem }) {
    this.text.textContent = reply?.caption ?? problem?.message ?? WORDS[state];
    this.element.className = state;
  }

  mark(chosen) {
    this.button.setAttribute("aria-pressed", String(chosen));
  }
}
