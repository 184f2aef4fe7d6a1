// A terminal in the browser: a Screen in the page, the keyboard, and a websocket to a shell that outlives it.
import { Screen } from "./screen.js";

const history = document.querySelector("#history"), view = document.querySelector("#screen"), keys = document.querySelector("#keys");
const frame = document.querySelector("main"), notice = document.querySelector("#notice"), probe = document.querySelector("#probe");
const mostHistory = 5000; // rows

// colour returns one of xterm's 256 colours from the 17th on.
function colour(n) {
	if (typeof n === "string") return n;
	if (n >= 232) return `rgb(${Array(3).fill(8 + (n - 232) * 10).join()})`;
	const level = (v) => (v ? 55 + v * 40 : 0);
	n -= 16;
	return `rgb(${level(Math.floor(n / 36))},${level(Math.floor(n / 6) % 6)},${level(n % 6)})`;
}

// span shows a text in a style. Styles are classes, and rules of the object model: the page's policy allows no style in markup.
function span(text, style, cursor) {
	const e = document.createElement("span");
	e.textContent = text;
	for (const name of ["bold", "dim", "italic", "under", "inverse"]) if (style[name]) e.classList.add(name);
	for (const [part, property] of [["fg", "--fg"], ["bg", "--bg"]]) {
		const n = style[part];
		if (n === -1) continue;
		if (n < 16) e.classList.add(part + n);
		else { e.classList.add(part); e.style.setProperty(property, colour(n)); }
	}
	if (cursor) e.classList.add("cursor");
	return e;
}

function showRow(cells, cursor) {
	const row = document.createElement("div");
	let text = "", style = null;
	const flush = () => { if (text) row.append(span(text, style, false)); text = ""; };
	let last = cells.length - 1;
	while (last >= 0 && cells[last].ch === " " && cells[last].style.bg === -1 && !cells[last].style.inverse && last > cursor) last--;
	for (let i = 0; i <= last; i++) {
		const c = cells[i];
		if (i === cursor) { flush(); row.append(span(c.ch || " ", c.style, true)); style = null; continue; }
		if (c.style !== style) { flush(); style = c.style; }
		text += c.ch;
	}
	flush();
	return row;
}

function size() {
	const box = probe.getBoundingClientRect();
	return {
		cols: Math.max(2, Math.floor((frame.clientWidth - 8) / (box.width / 10))),
		rows: Math.max(2, Math.floor((frame.clientHeight - 8) / box.height)),
	};
}

let { rows, cols } = size();
let asked = false; // whether the page is drawn soon
let scrolled = [];
const screen = new Screen(rows, cols, send, (row) => scrolled.push(row));

function draw() {
	asked = false;
	const below = frame.scrollTop + frame.clientHeight >= frame.scrollHeight - 40;
	history.append(...scrolled.splice(0).slice(-mostHistory).map((row) => showRow(row, -1)));
	while (history.childElementCount > mostHistory) history.firstElementChild.remove();
	view.replaceChildren(...screen.grid.map((row, i) => showRow(row, screen.visible && i === screen.row ? screen.col : -1)));
	history.hidden = screen.grid !== screen.main;
	if (below) frame.scrollTop = frame.scrollHeight;
}

function redraw() {
	if (!asked) requestAnimationFrame(draw);
	asked = true;
}

// The websocket. The terminal's ID and the offset of its output survive the loss of a connection, of the backend, and of the page.
const place = new URL(`/api${location.pathname}`, location.href);
place.protocol = place.protocol.replace("http", "ws");
let socket = null, id = new URLSearchParams(location.hash.slice(1)).get("id") || "", at = 0, over = false;
let decoder = new TextDecoder();

function say(text) { notice.textContent = text; notice.hidden = !text; }

function connect() {
	place.search = new URLSearchParams({ id, from: at, rows, cols });
	socket = new WebSocket(place);
	socket.binaryType = "arraybuffer";
	socket.onmessage = (e) => {
		if (typeof e.data !== "string") {
			at += e.data.byteLength;
			screen.write(decoder.decode(e.data, { stream: true }));
			redraw();
			return;
		}
		const m = JSON.parse(e.data);
		if (m.id) {
			say("");
			if (id !== m.id) location.replace("#id=" + (id = m.id));
			if (m.from !== at) { at = m.from; decoder = new TextDecoder(); screen.reset(); }
			resize(true);
		}
		if ("exit" in m) { over = true; say(`The shell has ended with ${m.exit}. Reload the page for another one.`); history.hidden = false; location.replace("#"); }
	};
	socket.onclose = () => {
		if (over) return;
		say("The connection is lost. It is made again …");
		setTimeout(connect, 500);
	};
}

function send(text) {
	if (socket && socket.readyState === WebSocket.OPEN) socket.send(new TextEncoder().encode(text));
}

function resize(always) {
	const now = size();
	if (now.rows !== rows || now.cols !== cols) {
		({ rows, cols } = now);
		screen.resize(rows, cols);
		redraw();
	} else if (!always) return;
	if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ rows, cols }));
}

// The keyboard. A text area takes what is typed: so input methods, pasting and the keyboards of phones work.
const named = {
	Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", Insert: "\x1b[2~", Delete: "\x1b[3~", PageUp: "\x1b[5~", PageDown: "\x1b[6~",
	F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS", F5: "\x1b[15~", F6: "\x1b[17~", F7: "\x1b[18~", F8: "\x1b[19~", F9: "\x1b[20~",
	F10: "\x1b[21~", F11: "\x1b[23~", F12: "\x1b[24~",
};
const arrows = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };

function sequence(e) {
	if (arrows[e.key]) {
		const mods = 1 + e.shiftKey + 2 * e.altKey + 4 * e.ctrlKey;
		return mods > 1 ? `\x1b[1;${mods}${arrows[e.key]}` : (screen.appKeys ? "\x1bO" : "\x1b[") + arrows[e.key];
	}
	if (e.key === "Tab" && e.shiftKey) return "\x1b[Z";
	if (named[e.key]) return (e.altKey ? "\x1b" : "") + named[e.key];
	if ([...e.key].length !== 1) return "";
	const code = e.key.toUpperCase().charCodeAt(0);
	if (e.ctrlKey && !e.shiftKey && ((code >= 64 && code < 96) || code === 32)) return (e.altKey ? "\x1b" : "") + String.fromCharCode(code & 31);
	return e.altKey && !e.ctrlKey ? "\x1b" + e.key : "";
}

keys.addEventListener("keydown", (e) => {
	if (e.isComposing || e.metaKey) return;
	const text = sequence(e);
	if (!text) return;
	e.preventDefault();
	frame.scrollTop = frame.scrollHeight;
	send(text);
});
keys.addEventListener("input", (e) => {
	if (e.isComposing) return;
	if (e.inputType !== "insertLineBreak") send(keys.value.replace(/\n/g, "\r")); // the key has been sent
	keys.value = "";
});
keys.addEventListener("paste", (e) => {
	e.preventDefault();
	const text = e.clipboardData.getData("text").replace(/\r?\n/g, "\r").replaceAll("\x1b", "");
	send(screen.pasteMarks ? `\x1b[200~${text}\x1b[201~` : text);
});
frame.addEventListener("mouseup", () => { if (getSelection().isCollapsed) keys.focus({ preventScroll: true }); });
new ResizeObserver(() => resize(false)).observe(frame);
keys.focus();
connect();
