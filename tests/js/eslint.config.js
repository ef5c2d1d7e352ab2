import js from '@eslint/js';

const universal = [
    'AbortController', 'AbortSignal', 'ArrayBuffer', 'DOMException', 'TextDecoder', 'TextEncoder', 'URL', 'atob',
    'btoa', 'queueMicrotask',
];
const ofPages = [
    'ResizeObserver', 'WebSocket', 'addEventListener', 'clearTimeout', 'document', 'fetch', 'location', 'matchMedia',
    'navigator', 'removeEventListener', 'requestAnimationFrame', 'setTimeout',
];

const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));

export default [
    { ignores: ['**/node_modules/', '**/vendor/', '**/*.d.ts', '**/*.ts'] },
    js.configs.recommended,
    {
        languageOptions: {
            ecmaVersion: 2022,
            sourceType: 'module',
            globals: readonly(universal),
        },
        rules: {
            eqeqeq: 'error',
            'no-var': 'error',
            'prefer-const': 'error',
            indent: ['error', 4],
            semi: 'error',
            quotes: ['error', 'single', { avoidEscape: true }],
            'max-len': ['error', { code: 120 }],
        },
    },
    {
        files: ['tests/js/*.test.js'],
        languageOptions: { globals: readonly(['Headers', 'Response', 'setImmediate']) },
    },
    {
        files: ['wsproxy/static/{dial,lines,ircrooms,scrollback,ws*}.js'],
        ignores: ['wsproxy/static/websock.js'],
        languageOptions: { globals: readonly(ofPages) },
    },
    {
        files: ['wsproxy/admin/page/*.js'],
        languageOptions: { globals: readonly([...ofPages, 'sessionStorage']) },
    },
];
