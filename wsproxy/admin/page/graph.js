/**
 * A line of the last hour, as SVG: one value every ten seconds.
 *
 * @module
 */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 360;
const HEIGHT = 60;

export class Graph {
    /**
     * @param {Element} parent
     * @param {string} title
     * @param {function(number): string} unit how a value is shown
     */
    constructor(parent, title, unit) {
        this._title = title;
        this._unit = unit;
        const figure = document.createElement('figure');
        this._caption = document.createElement('figcaption');
        const picture = document.createElementNS(SVG, 'svg');
        picture.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
        picture.setAttribute('preserveAspectRatio', 'none');
        picture.setAttribute('aria-hidden', 'true'); // its caption says the same in words
        this._picture = picture;
        figure.append(this._caption, picture);
        parent.append(figure);
    }

    /** @param {(number|null)[]} values null where there is none; then the line has a gap */
    show(values) {
        const known = values.filter((value) => value !== null);
        const most = Math.max(...known, 0);
        const last = known.length ? this._unit(known[known.length - 1]) : '–';
        this._caption.textContent = `${this._title}: ${last} (at most ${this._unit(most)})`;
        this._picture.replaceChildren(...this._lines(values, most || 1));
    }

    _lines(values, most) {
        const lines = [];
        let points = [];
        const end = () => {
            if (points.length) {
                const line = document.createElementNS(SVG, 'polyline');
                line.setAttribute('points', points.length > 1 ? points.join(' ') : `${points[0]} ${points[0]}`);
                lines.push(line);
                points = [];
            }
        };
        values.forEach((value, index) => {
            if (value === null) {
                end();
            } else {
                const x = WIDTH - values.length + index;
                points.push(`${x},${(HEIGHT - 2 - (HEIGHT - 4) * value / most).toFixed(1)}`);
            }
        });
        end();
        return lines;
    }
}
