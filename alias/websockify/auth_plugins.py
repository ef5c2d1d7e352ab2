from wsproxy.plugins.authbases import *  # noqa: F403  # its public names are those
