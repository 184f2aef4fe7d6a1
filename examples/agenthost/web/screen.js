// What a terminal shows, as far as shells, vim, top and less need it: xterm's control sequences over a grid of cells. No DOM is needed here.

const lines = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"; // what DEC's charset for drawing has in place of ` to ~
const plain = { fg: -1, bg: -1, bold: false, dim: false, italic: false, under: false, inverse: false };

// width is the number of cells that a character takes.
function width(ch) {
	const c = ch.codePointAt(0);
	if (c < 0x300) return 1;
	if (/\p{Mark}|\p{Default_Ignorable_Code_Point}/u.test(ch)) return 0;
	const wide = c >= 0x1100 && (c <= 0x115f || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
		(c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) || (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) ||
		(c >= 0x20000 && c <= 0x3fffd));
	return wide ? 2 : 1;
}

export class Screen {
	// reply sends an answer to the program. scrolled gets each row that leaves the screen at the top for good.
	constructor(rows, cols, reply, scrolled) {
		Object.assign(this, { rows, cols, reply, scrolled });
		this.reset();
	}

	reset() {
		this.style = plain;
		this.row = this.col = 0;
		this.main = this.grid = this.blank(this.rows);
		this.other = null; // the cursor of the main screen while the alternate one is shown
		this.saved = null;
		this.top = 0;
		this.bottom = this.rows - 1;
		this.wrapNext = this.appKeys = this.pasteMarks = this.drawing = this.origin = this.insert = false;
		this.wrap = this.visible = true;
		this.state = "text";
		this.last = " ";
	}

	cell(ch = " ") { return { ch, style: this.style }; }
	blankRow() { return Array.from({ length: this.cols }, () => ({ ch: " ", style: this.style.bg < 0 ? plain : { ...plain, bg: this.style.bg } })); }
	blank(n) { return Array.from({ length: n }, () => this.blankRow()); }

	resize(rows, cols) {
		const fit = (grid, cursor) => {
			while (grid.length > rows && cursor && cursor.row >= rows) { // the top goes
				const gone = grid.shift();
				if (grid === this.main) this.scrolled(gone);
				cursor.row--;
			}
			grid.length = Math.min(grid.length, rows);
			for (const row of grid) {
				row.length = Math.min(row.length, cols);
				while (row.length < cols) row.push({ ch: " ", style: plain });
			}
		};
		fit(this.main, this.other ? null : this);
		if (this.grid !== this.main) fit(this.grid, null);
		Object.assign(this, { rows, cols, top: 0, bottom: rows - 1, wrapNext: false });
		for (const grid of new Set([this.main, this.grid])) while (grid.length < rows) grid.push(this.blankRow());
		this.move(this.row, this.col);
	}

	move(row, col) {
		this.row = Math.max(0, Math.min(row, this.rows - 1));
		this.col = Math.max(0, Math.min(col, this.cols - 1));
		this.wrapNext = false;
	}

	// scroll moves the rows from top to bottom up by n, or down if n is negative.
	scroll(n, top = this.top) {
		for (; n > 0; n--) {
			const gone = this.grid.splice(top, 1)[0];
			if (top === 0 && this.grid === this.main && this.top === 0) this.scrolled(gone);
			this.grid.splice(this.bottom, 0, this.blankRow());
		}
		for (; n < 0; n++) {
			this.grid.splice(this.bottom, 1);
			this.grid.splice(top, 0, this.blankRow());
		}
	}

	feed() {
		if (this.row === this.bottom) this.scroll(1);
		else this.move(this.row + 1, this.col);
		this.wrapNext = false;
	}

	print(ch) {
		if (this.drawing && ch >= "`" && ch <= "~") ch = [...lines][ch.charCodeAt(0) - 96];
		const w = width(ch);
		if (w === 0) {
			const at = this.grid[this.row][Math.max(0, this.col - (this.wrapNext ? 0 : 1))];
			at.ch += ch;
			return;
		}
		if (this.wrap && (this.wrapNext || this.col + w > this.cols)) {
			this.col = 0;
			this.feed();
		}
		const row = this.grid[this.row];
		if (this.insert) {
			for (let i = 0; i < w; i++) row.splice(this.col, 0, this.cell());
			row.length = this.cols;
		}
		row[this.col] = this.cell(ch);
		if (w === 2 && this.col + 1 < this.cols) row[this.col + 1] = this.cell(""); // the right half
		this.last = ch;
		this.wrapNext = this.col + w >= this.cols;
		this.col = Math.min(this.col + w, this.cols - 1);
	}

	// write takes what the program has written.
	write(text) {
		for (const ch of text) {
			const c = ch.charCodeAt(0);
			if (this.state === "string") { // of an operating system command: titles, for example
				if (c === 7 || c === 0x18) this.state = "text";
				else if (c === 27) this.state = "escape";
			} else if (c < 32) this.control(c);
			else if (this.state === "text") { if (c !== 127) this.print(ch); }
			else this[this.state](ch);
		}
	}

	control(c) {
		if (c === 27) this.state = "escape";
		else if (c === 0x18 || c === 0x1a) this.state = "text";
		else if (c === 8) this.move(this.row, this.col - 1);
		else if (c === 9) this.move(this.row, (Math.floor(this.col / 8) + 1) * 8);
		else if (c === 13) this.move(this.row, 0);
		else if (c >= 10 && c <= 12) this.feed();
		else if (c === 14 || c === 15) this.drawing = c === 14;
	}

	escape(ch) {
		this.state = "text";
		if (ch === "[") Object.assign(this, { state: "sequence", params: "", between: "" });
		else if ("]PX^_".includes(ch)) this.state = "string";
		else if ("()*+#%".includes(ch)) Object.assign(this, { state: "charset", of: ch });
		else if (ch === "7") this.save();
		else if (ch === "8") this.restore();
		else if (ch === "D") this.feed();
		else if (ch === "E") { this.move(this.row, 0); this.feed(); }
		else if (ch === "M") { if (this.row === this.top) this.scroll(-1); else this.move(this.row - 1, this.col); }
		else if (ch === "c") this.reset();
	}

	charset(ch) {
		if (this.of === "(") this.drawing = ch === "0";
		this.state = "text";
	}

	save() { this.saved = { row: this.row, col: this.col, style: this.style, drawing: this.drawing }; }
	restore() {
		const s = this.saved || { row: 0, col: 0, style: plain, drawing: false };
		this.move(s.row, s.col);
		this.style = s.style;
		this.drawing = s.drawing;
	}

	sequence(ch) {
		if (ch >= "0" && ch <= "?") { if (this.params.length < 100) this.params += ch; return; }
		if (ch >= " " && ch <= "/") { this.between += ch; return; }
		this.state = "text";
		const mark = /^[<=>?]/.test(this.params) ? this.params[0] : "";
		const all = this.params.slice(mark.length).split(/[;:]/).map((p) => parseInt(p, 10) || 0);
		if (this.between) { if (this.between === "!" && ch === "p") this.reset(); return; }
		if (mark === "?") { if (ch === "h" || ch === "l") all.forEach((m) => this.mode(m, ch === "h")); return; }
		if (mark) { if (mark === ">" && ch === "c") this.reply("\x1b[>0;0;0c"); return; }
		this.act(ch, all, Math.min(Math.max(all[0], 1), 9999));
	}

	act(ch, all, n) {
		const row = this.grid[this.row], top = this.origin ? this.top : 0;
		switch (ch) {
		case "A": this.move(Math.max(this.row - n, this.row >= this.top ? this.top : 0), this.col); break;
		case "B": case "e": this.move(Math.min(this.row + n, this.row <= this.bottom ? this.bottom : this.rows), this.col); break;
		case "C": case "a": this.move(this.row, this.col + n); break;
		case "D": this.move(this.row, this.col - n); break;
		case "E": this.move(this.row + n, 0); break;
		case "F": this.move(this.row - n, 0); break;
		case "G": case "`": this.move(this.row, n - 1); break;
		case "d": this.move(top + n - 1, this.col); break;
		case "H": case "f": this.move(top + n - 1, Math.max(all[1] || 1, 1) - 1); break;
		case "J": this.eraseScreen(all[0]); break;
		case "K": this.erase(row, all[0] === 0 ? this.col : 0, all[0] === 1 ? this.col + 1 : this.cols); break;
		case "X": this.erase(row, this.col, this.col + n); break;
		case "L": if (this.row >= this.top && this.row <= this.bottom) this.scroll(-Math.min(n, this.rows), this.row); break;
		case "M": if (this.row >= this.top && this.row <= this.bottom) this.deleteRows(Math.min(n, this.rows)); break;
		case "S": this.scroll(Math.min(n, this.rows)); break;
		case "T": this.scroll(-Math.min(n, this.rows)); break;
		case "P": row.splice(this.col, n); while (row.length < this.cols) row.push(this.cell()); break;
		case "@": for (let i = 0; i < Math.min(n, this.cols); i++) row.splice(this.col, 0, this.cell()); row.length = this.cols; break;
		case "b": for (let i = 0; i < Math.min(n, this.cols * this.rows); i++) this.print(this.last); break;
		case "m": this.dress(all); break;
		case "r":
			this.top = n - 1;
			this.bottom = Math.min(all[1] || this.rows, this.rows) - 1;
			if (this.top >= this.bottom) Object.assign(this, { top: 0, bottom: this.rows - 1 });
			this.move(this.origin ? this.top : 0, 0);
			break;
		case "s": this.save(); break;
		case "u": this.restore(); break;
		case "h": case "l": if (all.includes(4)) this.insert = ch === "h"; break;
		case "n": this.reply(all[0] === 6 ? `\x1b[${this.row - top + 1};${this.col + 1}R` : "\x1b[0n"); break;
		case "c": this.reply("\x1b[?1;2c"); break;
		}
	}

	deleteRows(n) { // as scroll does, but what goes is not at the top of what has been shown
		for (; n > 0; n--) {
			this.grid.splice(this.row, 1);
			this.grid.splice(this.bottom, 0, this.blankRow());
		}
	}

	erase(row, from, to) { row.splice(from, Math.min(to, this.cols) - from, ...this.blankRow().slice(from, to)); this.wrapNext = false; }

	eraseScreen(what) {
		if (what === 0) this.erase(this.grid[this.row], this.col, this.cols);
		if (what === 1) this.erase(this.grid[this.row], 0, this.col + 1);
		const from = what === 0 ? this.row + 1 : 0, to = what === 1 ? this.row : this.rows;
		for (let i = from; i < to; i++) this.grid[i] = this.blankRow();
	}

	mode(m, on) {
		switch (m) {
		case 1: this.appKeys = on; break;
		case 6: this.origin = on; this.move(on ? this.top : 0, 0); break;
		case 7: this.wrap = on; break;
		case 25: this.visible = on; break;
		case 2004: this.pasteMarks = on; break;
		case 47: case 1047: case 1049:
			if (on && !this.other) {
				this.other = { row: this.row, col: this.col, style: this.style };
				this.grid = this.blank(this.rows);
			} else if (!on && this.other) {
				this.grid = this.main;
				this.style = this.other.style;
				this.move(this.other.row, this.other.col);
				this.other = null;
			}
			Object.assign(this, { top: 0, bottom: this.rows - 1 });
		}
	}

	// dress sets how text is shown from here on.
	dress(all) {
		const s = { ...this.style };
		const colour = (i) => { // of 38 and 48: returns the colour, and how many parameters it took
			if (all[i + 1] === 5) return [all[i + 2] & 255, 2];
			if (all[i + 1] === 2) return ["#" + all.slice(i + 2, i + 5).map((v) => (v & 255).toString(16).padStart(2, "0")).join(""), 4];
			return [-1, 1];
		};
		for (let i = 0; i < all.length; i++) {
			const n = all[i];
			if (n === 0) Object.assign(s, plain);
			else if (n === 1) s.bold = true;
			else if (n === 2) s.dim = true;
			else if (n === 3) s.italic = true;
			else if (n === 4) s.under = true;
			else if (n === 7) s.inverse = true;
			else if (n === 22) s.bold = s.dim = false;
			else if (n === 23) s.italic = false;
			else if (n === 24) s.under = false;
			else if (n === 27) s.inverse = false;
			else if (n >= 30 && n <= 37) s.fg = n - 30;
			else if (n === 39) s.fg = -1;
			else if (n >= 40 && n <= 47) s.bg = n - 40;
			else if (n === 49) s.bg = -1;
			else if (n >= 90 && n <= 97) s.fg = n - 82;
			else if (n >= 100 && n <= 107) s.bg = n - 92;
			else if (n === 38 || n === 48) {
				const [value, took] = colour(i);
				s[n === 38 ? "fg" : "bg"] = value;
				i += took;
			}
		}
		this.style = s;
	}
}
