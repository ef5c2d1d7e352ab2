// What both browsers' libraries do alike with a page.

/** A picture as a PNG file, and its pixels: four bytes each, red, green, blue and alpha. */
export async function unpack(png, context) {
    // Read elsewhere: the page's content security policy may not let it load the file again.
    const lab = await context.newPage();
    const picture = await lab.evaluate(async (source) => {
        const bitmap = await createImageBitmap(await (await fetch(source)).blob());
        const {width, height} = bitmap;
        const canvas = new OffscreenCanvas(width, height).getContext('2d');
        canvas.drawImage(bitmap, 0, 0);
        let pixels = '';
        for (const byte of canvas.getImageData(0, 0, width, height).data) {
            pixels += String.fromCharCode(byte);
        }
        return {width, height, pixels: btoa(pixels)};
    }, `data:image/png;base64,${Buffer.from(png).toString('base64')}`);
    await lab.close();
    return picture;
}

/** Whether a page that is to be closed asks first; then it stays. */
export function asksBeforeItGoes(page) {
    return new Promise((resolve, reject) => {
        page.once('dialog', (dialog) => dialog.dismiss().then(() => resolve(dialog.type() === 'beforeunload'), reject));
        page.once('close', () => resolve(false));
        page.close({runBeforeUnload: true}).catch(() => {}); // it tells that the dialog was dismissed
    });
}

/** Load a page again, also where it asks first. */
export async function reload(page) {
    const agree = (dialog) => dialog.accept();
    page.on('dialog', agree);
    await page.reload();
    page.off('dialog', agree);
}
