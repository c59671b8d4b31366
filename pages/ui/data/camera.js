// A camera that takes pictures for as long as its button is held (mouse, finger, space bar or enter).
// Pictures are square JPEGs; they are handed over together when the button is let go.

const SIDE = 384; // px of a picture
const BETWEEN = 150; // ms from one picture to the next
const MOST = 60; // pictures of one press

async function begin(video, words) {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
    await video.play();
    words.textContent = "";
    return true;
  } catch (error) {
    const why = { NotAllowedError: "The browser may not use it.", NotFoundError: "There is none." };
    words.textContent = `No camera. ${why[error.name] || error.message || "This page must be opened as localhost or by https."}`;
    return false;
  }
}

function taken(video, canvas) {
  const side = Math.min(video.videoWidth, video.videoHeight);
  if (!side) return null;
  canvas.width = canvas.height = Math.min(SIDE, side);
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const [video, button, words] = ["video", "button", "p"].map((name) => parentElement.querySelector(name));
  const canvas = document.createElement("canvas");
  let timer = null;
  let shots = [];

  const shoot = () => {
    const shot = shots.length < MOST ? taken(video, canvas) : null;
    if (shot) shots.push(shot);
    words.textContent = `${shots.length}`;
  };
  const press = (event) => {
    if (timer || button.disabled) return;
    event.preventDefault();
    shots = [];
    shoot();
    timer = setInterval(shoot, BETWEEN);
  };
  const release = () => {
    if (!timer) return;
    clearInterval(timer);
    timer = null;
    words.textContent = "";
    if (shots.length) setTriggerValue("shots", { label: data.label, pictures: shots });
  };
  const key = (act) => (event) => {
    if ([" ", "Enter"].includes(event.key)) act(event);
  };

  button.textContent = data.words;
  button.disabled = !data.label;
  button.onpointerdown = press;
  button.onkeydown = key(press);
  button.onkeyup = key(release);
  window.addEventListener("pointerup", release);
  window.addEventListener("blur", release);
  if (!video.srcObject) begin(video, words);
  return () => {
    clearInterval(timer);
    window.removeEventListener("pointerup", release);
    window.removeEventListener("blur", release);
    for (const track of video.srcObject?.getTracks() || []) track.stop();
    video.srcObject = null;
  };
}
