// What a click has opened is brought into sight where it begins below the window, as it does on a phone. At once: a
// smooth way there would be broken off when Streamlit brings the chosen tab into sight within its row.
let seen = null;

export default function ({ data }) {
  if (!data.turn || data.turn === seen) return;
  seen = data.turn;
  const opened = document.querySelector(`.st-key-${data.key}`);
  if (opened && opened.getBoundingClientRect().top > innerHeight / 2) opened.scrollIntoView({ block: "start" });
}
