from wsproxy.plugins.tokenbases import *  # noqa: F403  # its public names are those
