// A caption whose words are buttons: pointing at one, or focusing it, shows where it looked.

/**
 * Return the parts of a text: each word with its place in the list, and what is between words.
 * A caption joins some words without a space, such as "'s" and Chinese characters.
 */
export function partsOf(text, words) {
  const parts = [];
  let end = 0;
  for (const [index, word] of words.entries()) {
    const start = text.indexOf(word, end);
    if (start < 0) {
      return [{ text, index: null }]; // a word that is written otherwise: no word is shown alone
    }
    if (start > end) {
      parts.push({ text: text.slice(end, start), index: null });
    }
    end = start + word.length;
    parts.push({ text: word, index });
  }
  return end < text.length ? [...parts, { text: text.slice(end), index: null }] : parts;
}

const NONE = { pointed: null, pinned: null, focused: null };

export class Words {
  /** `onLook(index)` is called with the word that is pointed at, or null for none. */
  constructor(element, onLook) {
    this.element = element;
    this.onLook = onLook;
    this.clear();
    for (const [event, look] of Object.entries(LOOKS)) {
      element.addEventListener(event, (details) => look(this, indexOf(details.target)));
    }
    element.addEventListener("keydown", (event) => this.move(event));
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.set(NONE));
  }

  /** Show a caption; `describe(index)` says in words where a word looked. */
  show(text, words, describe) {
    this.clear();
    for (const { text: part, index } of partsOf(text, words)) {
      this.element.append(index === null ? part : button(part, index, describe(index)));
    }
    this.element.setAttribute("aria-label", `Caption: ${text}`);
    this.buttons[0]?.setAttribute("tabindex", "0");
  }

  clear() {
    Object.assign(this, NONE);
    this.element.replaceChildren();
    this.onLook(null);
  }

  get buttons() {
    return [...this.element.querySelectorAll("button")];
  }

  /** Change which word is pointed at, focused or pinned, and show the first of these. */
  set(changes) {
    Object.assign(this, changes);
    const index = this.pointed ?? this.pinned ?? this.focused;
    for (const each of this.buttons) {
      each.classList.toggle("looking", indexOf(each) === index);
      each.setAttribute("aria-pressed", String(indexOf(each) === this.pinned));
    }
    this.onLook(index);
  }

  /** Keep a word shown until it, or another one, is clicked. */
  pin(index) {
    this.set(index === this.pinned ? NONE : { pinned: index });
  }

  /** Move the focus by the arrow keys: the words are one stop of the tabulator. */
  move(event) {
    const { buttons } = this;
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) {
      return;
    }
    event.preventDefault();
    const next = buttons[(to + buttons.length) % buttons.length];
    buttons.forEach((each) => each.setAttribute("tabindex", each === next ? "0" : "-1"));
    next.focus();
  }
}

const LOOKS = {
  pointerover: (words, index) => words.set({ pointed: index }),
  pointerleave: (words) => words.set({ pointed: null }),
  focusin: (words, index) => words.set({ focused: index }),
  focusout: (words) => words.set({ focused: null }),
  click: (words, index) => index !== null && words.pin(index),
};

function button(text, index, place) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset.index = index;
  made.setAttribute("tabindex", "-1");
  made.setAttribute("aria-pressed", "false");
  made.setAttribute("aria-label", `${text}, ${place}`);
  return made;
}

function indexOf(element) {
  const { index } = element.dataset;
  return index === undefined ? null : Number(index);
}
