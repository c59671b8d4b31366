// Phases as blocks along a line of time. A border between two is dragged, and epochs go from one to the other; a block is
// dragged, and the order changes. All that shows at once; Python hears of it when the hand lets go (of keys: when they
// rest), one event at a time, and what it then sends is the truth again.

const BASE = 44; // px of a phase, whatever it lasts
const WIDEST = 80; // px of an epoch, where there is room
const LEAST = 16; // px for the epochs of a phase in the mean; with less the strip scrolls
const ROOM = 0.15; // of the width, on the right: there the last phase can be drawn longer
const CLICK = 5; // px of a drag that is a click
const REST = 400; // ms without a key until what keys did is told
const PATIENCE = 30000; // ms until an event that got no answer counts as lost
const EDGE = 32; // px from an edge, where a dragged block scrolls the strip
const BY = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 };

const strips = new WeakMap(); // of their elements

const made = (tag, name, more = {}) => Object.assign(document.createElement(tag), { className: name, ...more });
const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const move = (list, place, to) => list.splice(to, 0, ...list.splice(place, 1));
const between = (low, number, high) => Math.min(Math.max(number, low), high);

function strip(root) {
  const [said, scroller, track, live] = ["said", "scroller", "track", "live"].map((name) => made("div", name));
  root.append(said, scroller, live);
  scroller.append(track);
  live.setAttribute("aria-live", "polite");

  const blocks = []; // of the phases, in their order
  const ends = []; // the right border of each place
  let tell, data, phases, look, drag;
  let turned = false; // whether another phase was chosen that Python has not heard of
  let steps = []; // what was done and not told yet
  let sent = null; // the event that has no answer yet
  let resting, late;
  let dragged = false; // whether the browser may yet make a click of the last drag
  let count = 0;

  // What is done

  const range = (place) => {
    const next = phases[place + 1];
    const both = phases[place].epochs + (next?.epochs ?? 0);
    return next ? [Math.max(data.low, both - data.high), Math.min(data.high, both - data.low)] : [data.low, data.high];
  };
  const end = (place, epochs) => {
    if (phases[place + 1]) phases[place + 1].epochs += phases[place].epochs - epochs;
    phases[place].epochs = epochs;
  };
  const carry = (place, to) => {
    const chosen = phases[look];
    move(phases, place, to);
    look = phases.indexOf(chosen);
  };
  const fits = (step) => {
    if ("move" in step) return step.move < phases.length && step.to < phases.length;
    const [low, high] = step.end < phases.length ? range(step.end) : [1, 0];
    return low <= step.epochs && step.epochs <= high;
  };
  const redo = (step) => ("move" in step ? carry(step.move, step.to) : end(step.end, step.epochs));
  const note = (step) => {
    if (step.end !== undefined && steps.at(-1)?.end === step.end) steps.pop();
    steps.push(step);
  };

  function send() {
    clearTimeout(resting);
    resting = null;
    if (sent || drag || !(steps.length || turned)) return;
    sent = { id: `${Date.now()}-${count++}`, at: Date.now() };
    tell({ id: sent.id, steps, look });
    steps = [];
    turned = false;
  }

  // Shows what Python has, and on it what was done meanwhile; not under a hand, nor before it has heard the last event.
  function settle() {
    clearTimeout(late);
    if (drag) return;
    if (sent && data.heard !== sent.id && Date.now() < sent.at + PATIENCE) {
      late = setTimeout(settle, sent.at + PATIENCE - Date.now());
      return;
    }
    if (sent && data.heard === sent.id && !data.taken) steps = [];
    sent = null;
    phases = data.phases.map((phase) => ({ ...phase }));
    const wanted = look;
    look = data.chosen;
    steps = steps.filter((step) => fits(step) && (redo(step), true));
    if (turned) look = Math.min(wanted, phases.length - 1);
    draw();
    if (!resting) send();
  }

  // What is drawn

  function draw() {
    while (blocks.length < phases.length) {
      blocks.push(block());
      ends.push(border());
    }
    for (const each of [...blocks.splice(phases.length), ...ends.splice(phases.length)]) each.remove();
    phases.forEach(fill);
    const order = blocks.flatMap((each, place) => [each, ends[place]]);
    if (!drag && order.some((each, place) => track.children[place] !== each)) {
      const held = root.getRootNode().activeElement;
      track.append(...order);
      held?.focus({ preventScroll: true });
    }
    root.classList.toggle("several", phases.length > 1);
    layout();
  }

  function block() {
    const one = made("button", "block", { type: "button" });
    const [line, lasts] = [made("span", "line"), made("span", "lasts")];
    line.append(made("span", "grip"), made("span", "number"), made("span", "words"));
    lasts.append(made("span", "epochs"), made("span", "unit"));
    one.append(line, lasts, made("span", "groups"));
    return one;
  }

  function border() {
    const one = made("div", "end", { tabIndex: 0 });
    one.setAttribute("role", "separator");
    one.setAttribute("aria-orientation", "vertical");
    return one;
  }

  function fill(phase, place) {
    const [each, edge, next, total] = [blocks[place], ends[place], phases[place + 1], phases.length];
    const part = (name) => each.querySelector(`.${name}`);
    const lasts = counted(phase.epochs, "epoch");
    const written = { number: place + 1, words: phase.words, epochs: phase.epochs, unit: lasts.replace(/^\d+/, "") };
    for (const [name, text] of Object.entries(written)) part(name).textContent = text;
    const cells = part("groups");
    while (cells.childElementCount < phase.groups.length) cells.append(made("i", ""));
    while (cells.childElementCount > phase.groups.length) cells.lastChild.remove();
    phase.groups.forEach((colour, at) => { cells.children[at].style.background = colour; });
    each.style.setProperty("--colour", phase.colour);
    each.setAttribute("aria-pressed", place === look);
    each.setAttribute("aria-label", `Phase ${place + 1} of ${total}: ${phase.words}, ${lasts}`);
    each.title = `${phase.words}, ${lasts}` + (total > 1 ? "\nDrag it, or Ctrl + ← →, to change the order" : "");
    if (total > 1) each.setAttribute("aria-keyshortcuts", "Control+ArrowLeft Control+ArrowRight");
    const [low, high] = range(place);
    const of = next ? `Border between phases ${place + 1} and ${place + 2}` : `End of phase ${place + 1}`;
    const also = next ? `, phase ${place + 2}: ${counted(next.epochs, "epoch")}` : "";
    const values = { label: of, valuemin: low, valuemax: high, valuenow: phase.epochs };
    for (const [name, value] of Object.entries(values)) edge.setAttribute(`aria-${name}`, value);
    edge.setAttribute("aria-valuetext", `phase ${place + 1}: ${lasts}${also}`);
    edge.title = `${of}: drag it, or ← → by one epoch, Page ↑ ↓ by ten`;
  }

  const inAll = () => phases.reduce((sum, phase) => sum + phase.epochs, 0);

  // px of an epoch
  function scale() {
    const [total, places] = [inAll(), phases.length];
    const fitting = (scroller.clientWidth * (1 - ROOM) - places * BASE) / total;
    return Math.max((places * LEAST) / total, Math.min(WIDEST, fitting));
  }

  function layout() {
    if (!phases) return;
    const epoch = drag?.epoch ?? scale();
    let at = 0;
    phases.forEach((phase, place) => {
      const width = BASE + phase.epochs * epoch;
      const held = drag?.going && drag.node === blocks[place];
      blocks[place].style.left = `${held ? drag.now : at}px`;
      blocks[place].style.width = `${width}px`;
      at += width;
      ends[place].style.left = `${at}px`;
    });
    track.style.width = `${at + EDGE}px`;
    const several = phases.length > 1 ? `${phases.length} phases, ` : "";
    said.textContent = `${several}${counted(inAll(), "epoch")}${several ? " in all" : ""}`;
  }

  // By hand

  function down(event) {
    dragged = false;
    const [edge, each] = [".end", ".block"].map((name) => event.target.closest(name));
    const grip = event.pointerType !== "touch" || event.target.closest(".grip"); // a finger elsewhere scrolls
    if (event.button || drag || !(edge || (each && grip && phases.length > 1))) return;
    const place = edge ? ends.indexOf(edge) : blocks.indexOf(each);
    const node = edge || each;
    node.setPointerCapture(event.pointerId);
    drag = {
      node, place, pointer: event.pointerId, x: event.clientX, from: event.clientX, scrolled: scroller.scrollLeft,
      at: place, left: node.offsetLeft, epochs: phases[place].epochs, epoch: scale(), going: Boolean(edge),
      edge: Boolean(edge), blocks: [...blocks], phases: phases.map((phase) => ({ ...phase })), look,
    };
    root.classList.toggle("pulling", Boolean(edge));
    addEventListener("keydown", escape, true);
    if (!edge) roll();
  }

  function pull(event) {
    if (event.pointerId !== drag?.pointer) return;
    drag.x = event.clientX;
    follow();
  }

  function follow() {
    if (drag.edge) {
      const wanted = drag.epochs + Math.round((drag.x - drag.from) / drag.epoch);
      const [low, high] = range(drag.place);
      end(drag.place, between(low, wanted, high));
      draw();
      if (drag.place === phases.length - 1) scroller.scrollLeft = scroller.scrollWidth;
      return;
    }
    const by = drag.x - drag.from + scroller.scrollLeft - drag.scrolled;
    drag.going ||= Math.abs(by) > CLICK;
    if (!drag.going) return;
    drag.now = between(0, drag.left + by, track.offsetWidth - EDGE - drag.node.offsetWidth);
    root.classList.add("carrying");
    drag.node.classList.add("held");
    const to = before(drag.now);
    if (to !== drag.at) {
      carry(drag.at, to);
      move(blocks, drag.at, to);
      drag.at = to;
      phases.forEach(fill);
    }
    layout();
  }

  // How many of the other blocks have their middle left of this place
  function before(left) {
    let [at, passed] = [0, 0];
    phases.forEach((phase, place) => {
      const width = BASE + phase.epochs * drag.epoch;
      if (place === drag.at) return;
      passed += at + width / 2 < left;
      at += width;
    });
    return passed;
  }

  function roll() {
    if (!drag) return;
    const { left, right } = scroller.getBoundingClientRect();
    const way = (drag.x > right - EDGE) - (drag.x < left + EDGE);
    if (way && drag.going) {
      scroller.scrollLeft += way * 8;
      follow();
    }
    requestAnimationFrame(roll);
  }

  function letGo(event) {
    if (event.pointerId !== drag?.pointer) return;
    const { edge, place, at, epochs, going } = loose();
    if (edge && phases[place].epochs !== epochs) note({ end: place, epochs: phases[place].epochs });
    if (!edge && at !== place) note({ move: place, to: at });
    dragged = going;
    draw();
    if (going) announce(edge ? place : at, edge);
    settle();
  }

  function loose() {
    const was = drag;
    drag = null;
    was.node.classList.remove("held");
    root.classList.remove("pulling", "carrying");
    removeEventListener("keydown", escape, true);
    return was;
  }

  function cancel(event) {
    if (!drag || (event && event.pointerId !== drag.pointer)) return;
    const was = loose();
    dragged = true;
    phases = was.phases;
    look = was.look;
    blocks.splice(0, blocks.length, ...was.blocks);
    settle();
  }

  function escape(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    cancel();
  }

  function choose(event) {
    const place = blocks.indexOf(event.target.closest(".block"));
    if ((dragged && event.detail) || place < 0 || place === look) return;
    look = place;
    turned = true;
    draw();
    send();
  }

  // By keyboard

  function press(event) {
    const by = BY[event.key];
    if (!by || drag) return;
    const [edge, each] = [ends, blocks].map((nodes) => nodes.indexOf(event.target));
    const moving = each >= 0 && Math.abs(by) === 1 && (event.ctrlKey || event.altKey || event.shiftKey);
    if (edge < 0 && !moving) return;
    event.preventDefault();
    if (edge >= 0) {
      const [low, high] = range(edge);
      end(edge, between(low, phases[edge].epochs + by, high));
      note({ end: edge, epochs: phases[edge].epochs });
    } else {
      const to = between(0, each + by, phases.length - 1);
      if (to === each) return;
      carry(each, to);
      move(blocks, each, to);
      note({ move: each, to });
    }
    draw();
    if (moving) announce(blocks.indexOf(event.target), false);
    event.target.scrollIntoView({ block: "nearest", inline: "nearest" });
    clearTimeout(resting);
    resting = setTimeout(send, REST);
  }

  function announce(place, edge) {
    const words = `${phases[place].words} is now phase ${place + 1} of ${phases.length}`;
    live.textContent = edge ? ends[place].getAttribute("aria-valuetext") : words;
  }

  track.addEventListener("pointerdown", down);
  track.addEventListener("pointermove", pull);
  track.addEventListener("pointerup", letGo);
  track.addEventListener("pointercancel", cancel);
  track.addEventListener("click", choose);
  track.addEventListener("keydown", press);
  track.addEventListener("focusout", () => { if (resting) send(); });
  const watcher = new ResizeObserver(layout);
  watcher.observe(scroller);

  return {
    receive(fresh, telling) {
      const first = !data;
      [data, tell] = [fresh, telling];
      settle();
      if (first) scroller.scrollLeft = blocks[look].offsetLeft - scroller.clientWidth / 3;
    },
    close() {
      clearTimeout(resting);
      clearTimeout(late);
      if (drag) loose();
      watcher.disconnect();
      strips.delete(root);
      root.replaceChildren();
    },
  };
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".timeline");
  if (!strips.has(root)) strips.set(root, strip(root));
  strips.get(root).receive(data, (event) => setTriggerValue("arranged", event));
  return () => strips.get(root)?.close();
}
