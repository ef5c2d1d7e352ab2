// A WebSocket to where the page came from, for whoever drives the page: `socket` once connected, what it `received`
// by kind of message, as bytes (a character each), and its `ending`.

window.received = {text: '', binary: ''};
window.ending = null;

window.connect = (...subprotocols) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/`, subprotocols);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => resolve(socket.protocol);
    socket.onerror = () => reject(new Error('no connection'));
    socket.onmessage = ({data}) => {
        if (typeof data === 'string') {
            window.received.text += atob(data);
        } else {
            window.received.binary += String.fromCharCode(...new Uint8Array(data));
        }
    };
    socket.onclose = ({code, reason, wasClean}) => {
        window.ending = {code, reason, wasClean};
    };
    window.socket = socket;
});
