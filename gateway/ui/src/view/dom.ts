// Creates and updates elements. Text always becomes a text node: neither this file nor the views parse HTML.
// Called by every view.

export type Child = Node | string | null | false;

export interface Props {
  readonly class?: string;
  readonly testid?: string;
  readonly attrs?: Readonly<Record<string, string>>;
  readonly on?: { readonly [E in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[E]) => void };
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class) element.className = props.class;
  if (props.testid) element.dataset['testid'] = props.testid;
  for (const [name, value] of Object.entries(props.attrs ?? {})) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(props.on ?? {})) {
    element.addEventListener(name, listener as EventListener);
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: readonly Child[]): void {
  for (const child of children)
    if (child !== null && child !== false)
      parent.appendChild(typeof child === 'string' ? document.createTextNode(child) : child);
}

/** Sets the text if it differs, so that nothing is announced or laid out twice. */
export function setText(element: Node, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes `wanted` the children of `parent`, in that order, moving as few nodes as possible. */
export function arrange(parent: Element, wanted: readonly Node[]): void {
  const keep = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
  let at: Node | null = parent.firstChild;
  for (const node of wanted) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

/** Elements that are reused between draws, by key. */
export class Keyed<T, E extends Element> {
  readonly #elements = new Map<string, E>();

  constructor(
    private readonly make: (item: T) => E,
    private readonly draw: (element: E, item: T) => void,
  ) {}

  list(items: readonly T[], key: (item: T) => string): E[] {
    const gone = new Set(this.#elements.keys());
    const out = items.map((item) => {
      const name = key(item);
      gone.delete(name);
      let element = this.#elements.get(name);
      if (!element) this.#elements.set(name, (element = this.make(item)));
      this.draw(element, item);
      return element;
    });
    for (const name of gone) this.#elements.delete(name);
    return out;
  }

  get(key: string): E | undefined {
    return this.#elements.get(key);
  }
}

const SVG = 'http://www.w3.org/2000/svg';

const PATHS = {
  menu: 'M4 7h16M4 12h16M4 17h10',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c.4-3.6 3-5.5 6.5-5.5s6.1 1.9 6.5 5.5M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.9c2 .7 3.2 2.4 3.5 5.1',
  send: 'M12 19V5M5.5 11.5 12 5l6.5 6.5',
  image: 'M5 4.5h14a1.5 1.5 0 0 1 1.5 1.5v12a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 18V6A1.5 1.5 0 0 1 5 4.5ZM4 17l5-5 4 4 2.5-2.5L20 17M15.5 9v.1',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7.5V12l3 2',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  leave: 'M14 4H7a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h7M10.5 12H21M17.5 8.5 21 12l-3.5 3.5',
  down: 'M12 5v14M5.5 12.5 12 19l6.5-6.5',
  alert: 'M12 8v5M12 16.5v.1M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
  pencil: 'M14.5 5.5l4 4M4 20l1-4.5L16 4.5a1.8 1.8 0 0 1 2.5 0l1 1a1.8 1.8 0 0 1 0 2.5L8.5 19 4 20Z',
} as const;

export function icon(name: keyof typeof PATHS): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.appendChild(path);
  return svg;
}

/** The Roomcast logo. */
export function logo(): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('class', 'logo');
  svg.setAttribute('aria-hidden', 'true');
  const box = document.createElementNS(SVG, 'rect');
  for (const [name, value] of [
    ['width', '32'],
    ['height', '32'],
    ['rx', '9'],
  ] as const)
    box.setAttribute(name, value);
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', 'M9 21.5V15a7 7 0 0 1 14 0v0a7 7 0 0 1-7 7h-4l-3 2.6z');
  svg.append(box, path);
  return svg;
}
