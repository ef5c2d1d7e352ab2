// Compiled, never run: the declarations accept what the documentation shows and refuse what it rules out.
import Default, { Websock, type WebsockState } from '../../wsproxy/static/websock.js';

const options = { maxReceive: 1024, maxSend: 1024, reconnect: { minDelay: 100, attempts: 3 } };
const sock: Websock = new Default(options);
new Websock();
new Websock({ reconnect: true, WebSocket, clock: globalThis, random: Math.random });
new Websock({ clock: { setTimeout: (callback: () => void, delay: number) => delay, clearTimeout() {} } });

sock.on('open', () => sock.sendString('hello'));
sock.on('message', () => {
    if (!sock.rQwait('length', 2) && !sock.rQwait('body', sock.rQshift16(), 2)) {
        const text: string = sock.rQshiftStr(4);
        const bytes: Uint8Array = sock.rQshiftBytes();
        const total: number = text.length + bytes.length + sock.rQlen() + sock.rQi;
        sock.rQi = total;
    }
});
sock.on('close', (event) => event.code.toFixed() + event.reason);
sock.on('error', (event) => (event instanceof Error ? event.message : event.type));
sock.on('reconnect', ({ attempt, delay }) => attempt + delay);
sock.off('open');

sock.open('ws://localhost:6080/');
sock.open(new URL('wss://localhost/'), ['binary']);
sock.attach(new RTCPeerConnection().createDataChannel('stream'));
const sent: boolean = sock.send([1, 2]) && sock.send(new Uint8Array(2)) && sock.send(new ArrayBuffer(2));
const queued: boolean = sock.queue(new DataView(new ArrayBuffer(2))) && sock.flush() && sock.send_string('x');
const state: WebsockState = sock.readyState;
const pending: number = sock.bufferedAmount + sock.sQ.length + sock.get_sQ().length;
sock.rQshiftTo(new Uint8Array(4), 4);
sock.rQskipBytes(1);
const parts: Uint8Array[] = [sock.rQslice(), sock.rQslice(0, -1), sock.rQ, sock.get_rQ(), sock.rQwhole()];
sock.set_rQi(sock.get_rQi());
const numbers: number[] = [sock.rQpeek8(), sock.rQshift8(), sock.rQpop8(), sock.rQshift32()];
sock.close();
sock.close(4000, sock.protocol + String(sock.reconnecting) + String([sent, queued, state, pending, parts, numbers]));

// @ts-expect-error a string has no bytes of its own
sock.send('text');
// @ts-expect-error no such event
sock.on('data', () => {});
// @ts-expect-error the state is Websock's to change
sock.readyState = 'open';
// @ts-expect-error rQlen is a method
sock.rQlen.toFixed();
// @ts-expect-error the queue is read, not replaced
sock.rQ = new Uint8Array(1);
