// A long list of which only what can be seen is in the document. Arrow keys walk through all of it.

const OVERSCAN = 2; // rows beyond the visible ones

/**
 * @param scroller the element that scrolls
 * @param list holds the items
 * @param options `rowHeight` and `gap` in pixels; `least`, the width below which there is one column less (0: one
 *   column); `make(item, index, total)` returns an element; `keyOf(item)` tells items apart
 */
export class VirtualList {
  #scroller;
  #list;
  #options;
  #items = [];
  #made = new Map();
  #active = null; // the key of the item that Tab leads to
  #frame = 0;
  #watcher;

  constructor(scroller, list, options) {
    this.#scroller = scroller;
    this.#list = list;
    this.#options = options;
    scroller.addEventListener("scroll", this.#later);
    list.addEventListener("keydown", (event) => this.#onKey(event));
    list.addEventListener("focusin", (event) => this.#onFocus(event));
    this.#watcher = new ResizeObserver(this.#later);
    this.#watcher.observe(scroller);
  }

  close() {
    this.#scroller.removeEventListener("scroll", this.#later);
    this.#watcher.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  show(items) {
    this.#items = items;
    if (!items.some((item) => this.#options.keyOf(item) === this.#active)) this.#active = null;
    this.draw();
  }

  /** Scroll an item into view and give it the focus. */
  focus(index) {
    if (index < 0 || index >= this.#items.length) return;
    this.#active = this.#options.keyOf(this.#items[index]);
    const { rowHeight, gap } = this.#options;
    const top = this.#list.offsetTop + Math.floor(index / this.#columns()) * (rowHeight + gap);
    const { scrollTop, clientHeight } = this.#scroller;
    if (top < scrollTop) this.#scroller.scrollTop = top - gap;
    else if (top + rowHeight > scrollTop + clientHeight) this.#scroller.scrollTop = top + rowHeight + gap - clientHeight;
    this.draw();
    this.#targetOf(this.#made.get(this.#active)?.element)?.focus({ preventScroll: true });
  }

  draw() {
    const { rowHeight, gap, keyOf, make } = this.#options;
    const columns = this.#columns();
    const rows = Math.ceil(this.#items.length / columns);
    const step = rowHeight + gap;
    const from = this.#scroller.scrollTop - this.#list.offsetTop;
    const first = clamp(Math.floor(from / step) - OVERSCAN, 0, rows);
    const last = clamp(Math.ceil((from + this.#scroller.clientHeight) / step) + OVERSCAN, first, rows);

    const wanted = new Map();
    const end = Math.min(last * columns, this.#items.length);
    for (let index = first * columns; index < end; index += 1) {
      const item = this.#items[index];
      const key = keyOf(item);
      const before = this.#made.get(key);
      const fresh = before && before.item === item && before.index === index && before.total === this.#items.length;
      const entry = fresh ? before : { item, index, total: this.#items.length, element: make(item, index, this.#items.length) };
      wanted.set(key, entry);
    }
    // A height of its own, so that it stays as long as it is while items come and go.
    this.#list.style.setProperty("--columns", columns);
    this.#list.style.paddingTop = `${first * step}px`;
    this.#list.style.height = `${rows * step - gap}px`;
    this.#put(wanted);
  }

  /** Only what has changed is touched, so that the focus and a selection of text stay. */
  #put(wanted) {
    const focused = [...this.#made].find(([, entry]) => entry.element.contains(document.activeElement))?.[0];
    const active = wanted.has(this.#active) ? this.#active : wanted.keys().next().value;
    for (const [key, entry] of this.#made) {
      if (wanted.get(key)?.element !== entry.element) entry.element.remove();
    }
    let previous = null;
    for (const [key, { element }] of wanted) {
      const place = previous ? previous.nextSibling : this.#list.firstChild;
      if (place !== element) this.#list.insertBefore(element, place);
      this.#targetOf(element).tabIndex = key === active ? 0 : -1;
      previous = element;
    }
    this.#made = wanted;
    const redrawn = focused !== undefined && wanted.get(focused)?.element;
    if (redrawn && !redrawn.contains(document.activeElement)) this.#targetOf(redrawn).focus({ preventScroll: true });
  }

  #columns() {
    const { least, gap } = this.#options;
    if (!least) return 1;
    const style = getComputedStyle(this.#scroller);
    const width = this.#scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return Math.max(1, Math.floor((width + gap) / (least + gap)));
  }

  #targetOf(element) {
    return element?.querySelector("[data-target]");
  }

  #later = () => {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.draw());
  };

  #onFocus(event) {
    for (const [key, entry] of this.#made) {
      const holds = entry.element.contains(event.target);
      if (holds) this.#active = key;
      this.#targetOf(entry.element).tabIndex = holds ? 0 : -1;
    }
  }

  #onKey(event) {
    const index = [...this.#made.values()].find((entry) => entry.element.contains(event.target))?.index;
    if (index === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const columns = this.#columns();
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / (this.#options.rowHeight + this.#options.gap)));
    const last = this.#items.length - 1;
    const to = {
      ArrowLeft: columns > 1 ? index - 1 : index,
      ArrowRight: columns > 1 ? index + 1 : index,
      ArrowUp: index - columns,
      ArrowDown: Math.min(index + columns, Math.max(last, index)),
      PageUp: Math.max(index - page * columns, index % columns),
      PageDown: Math.min(index + page * columns, last),
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.focus(to);
  }
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
