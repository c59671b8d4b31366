// A transform that an arrow has moved is mounted anew where it stands now. Whoever moved it by keyboard finds the same
// arrow under their hands again (the other one where it can go no further), and its card is brought in sight.
const SETTLED = 1000; // ms, within which the page has been drawn anew

let seen = null;

function arrow(name, step) {
  const ways = step < 0 ? ["up", "down"] : ["down", "up"];
  const found = ways.flatMap((way) => [...document.querySelectorAll(`.st-key-${way}--${name} button:not([disabled])`)]);
  return found.find((button) => button.offsetParent); // Streamlit has a second one for narrow windows
}

function follow({ name, step }) {
  const end = performance.now() + SETTLED;
  let busy = false; // with something else: what they touch or type into is not taken from them
  const elsewhere = ({ type }) => (busy ||= type === "pointerdown" || document.activeElement !== document.body);
  const look = () => {
    const button = arrow(name, step);
    const lost = document.activeElement === document.body;
    if (button && (lost || document.activeElement === button)) {
      if (lost) button.focus({ preventScroll: true });
      button.closest('[class*="st-key-line-"]').scrollIntoView({ block: "nearest" });
    }
    if (!busy && performance.now() < end) requestAnimationFrame(look);
    else for (const type of ["pointerdown", "keydown"]) document.removeEventListener(type, elsewhere, true);
  };
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, elsewhere, true);
  look();
}

export default function ({ data }) {
  if (!data.turn || data.turn === seen) return;
  seen = data.turn;
  follow(data);
}
